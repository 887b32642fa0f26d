from __future__ import annotations

import io
import json
import logging

from wals_spark.objective.objective import Loss
from wals_spark.run.events import HalfIteration, as_jsonl
from wals_spark.run.progress import progress

EVENTS = [
    HalfIteration(1, 30, "items", 5, 0.25, Loss(3.0, 2.0, 1.0)),
    HalfIteration(2, 30, "users", 7, 0.5, Loss(2.0, 2.0, 1.0)),
]


def test_a_record_says_side_rows_seconds_and_the_loss_in_parts():
    records = [json.loads(line) for line in as_jsonl(EVENTS).splitlines()]
    assert records[0] == {
        "event": "half_iteration", "half_iteration": 1, "planned": 30, "iteration": 1, "side": "items", "rows": 5,
        "seconds": 0.25, "solve_seconds": 0.0, "slowest_solve_seconds": 0.0, "loss": 6.0, "observed": 3.0,
        "unobserved": 2.0, "penalty": 1.0,
    }  # fmt: skip
    assert [record["iteration"] for record in records] == [1, 1]


def test_without_a_terminal_there_is_a_log_line_a_half_iteration(caplog):
    with caplog.at_level(logging.INFO, "wals_spark"), progress(30) as report:
        for event in EVENTS:
            report(event)
    assert caplog.messages == [
        "half-iteration  1/30  items  loss 6.00  0.25 s",
        "half-iteration  2/30  users  loss 5.00 (-16.667%)  0.50 s",
    ]


def test_on_a_terminal_there_is_a_bar(monkeypatch, caplog):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with caplog.at_level(logging.INFO, "wals_spark"), progress(30) as report:
        report(EVENTS[0])
    assert "training" in terminal.getvalue()
    assert "half-iteration  1/30  items" in terminal.getvalue()
    assert not caplog.messages
