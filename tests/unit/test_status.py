"""How a model fares, in words and as metrics."""

from __future__ import annotations

import re

from wals_spark.nights.status import Status
from wals_spark.run.history import HistoryEntry
from wals_spark.run.run_record import RunRecord

AT = "2026-03-02T02:10:00+00:00"
LAST = HistoryEntry(number=2, action="publish", version="n2", before="n1", at=AT, by="cron@box", anchor="n1")
GATE = {"metric": "ndcg@20", "candidate": 0.25, "served": {"version": "n1", "value": 0.24, "difference": 0.01}}
RUNS = [
    RunRecord(run="n3", version="n3", state="refused", exit_code=3, message="rows: " + "x" * 200, started=AT),
    RunRecord(
        run="n2",
        version="n2",
        state="published",
        exit_code=0,
        started=AT,
        seconds=90.0,
        details={"gate": GATE, "data": {"rows": 10, "users": 4, "items": 3}},
    ),
    RunRecord(run="n1", version="n1", started=AT, step="half-iteration 3/20"),
]
STATUS = Status("file:/m", LAST, "n2", RUNS, {"n1": 2**20, "n2": 3 * 2**19, "runs": 0})


def test_the_text_says_what_is_served_and_what_each_run_did():
    lines = str(STATUS).splitlines()
    assert lines[0] == f"file:/m: version n2 is served since {AT} (publish by cron@box)"
    assert lines[1] == "before it: n1; the best so far: n1"
    assert re.match(r"n3 +refused +3 +2026-03-02T02:10 +0.0 +rows: x+\.\.\.$", lines[4])
    assert re.match(r"n2 +published +0 +2026-03-02T02:10 +1.5 +ndcg@20 0.2500, \+4.2% against n1$", lines[5])
    assert lines[6].endswith("at half-iteration 3/20")
    assert "disk: 2.5 MiB in all" in lines


def test_the_text_says_that_current_is_not_what_the_history_says():
    assert "CURRENT names n1" in str(Status("file:/m", LAST, "n1", [], {}))
    assert str(Status("file:/m", None, "", [], {})).startswith("file:/m: no version is served")


def test_metrics_are_in_the_text_format_of_prometheus():
    text = STATUS.prometheus()
    assert text.endswith("\n")
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) wals_spark_\w+ .+|wals_spark_\w+(\{\w+=\"[^\"]*\"\})? [-+.\de]+", line), (
            line
        )
    assert 'wals_spark_served_info{version="n2"} 1.0' in text
    assert "wals_spark_last_run_exit_code 3.0" in text
    assert 'wals_spark_gate_value{metric="ndcg@20"} 0.25' in text
    assert 'wals_spark_data{of="rows"} 10.0' in text
    assert 'wals_spark_disk_bytes{what="n1"} 1048576.0' in text
