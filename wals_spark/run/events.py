"""The record of one half-iteration, as `events.jsonl` holds it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from wals_spark.objective.objective import Loss

_SECONDS = ("seconds", "solve_seconds", "slowest_solve_seconds")


@dataclass(frozen=True)
class HalfIteration:
    """What happened in a half-iteration.

    ``number`` counts from 1 to ``planned`` (twice max_iter); ``loss`` is that of the factors at its end. ``seconds``
    are by the driver's clock. ``solve_seconds`` is the time that tasks spent on solving rows, summed over blocks, and
    ``slowest_solve_seconds`` that of the slowest block: if it is far above the mean, the blocks are out of balance.
    ``metric`` is that of held-out interactions after an iteration that is evaluated; ``evaluate_seconds`` are beyond
    ``seconds``.
    """

    number: int
    planned: int
    side: str
    rows: int
    seconds: float
    loss: Loss
    solve_seconds: float = 0.0
    slowest_solve_seconds: float = 0.0
    metric: float | None = None
    evaluate_seconds: float = 0.0

    @property
    def iteration(self) -> int:
        """The iteration that it belongs to, counted from 1."""
        return (self.number + 1) // 2

    @property
    def ends_iteration(self) -> bool:
        """Whether both sides have been solved."""
        return self.number % 2 == 0

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> HalfIteration:
        """The half-iteration of a record that `as_record` made; its seconds are rounded."""
        loss = Loss(*(record[name] for name in ("observed", "unobserved", "penalty")))
        metric = {name: record[name] for name in ("metric", "evaluate_seconds") if name in record}
        plain = {name: record[name] for name in ("planned", "side", "rows", *_SECONDS)}
        return cls(number=record["half_iteration"], loss=loss, **plain, **metric)

    def as_record(self) -> dict[str, Any]:
        """The half-iteration as plain values."""
        loss = self.loss
        record: dict[str, Any] = {
            "event": "half_iteration",
            "half_iteration": self.number,
            "planned": self.planned,
            "iteration": self.iteration,
            "side": self.side,
            "rows": self.rows,
            "seconds": round(self.seconds, 4),
            "solve_seconds": round(self.solve_seconds, 4),
            "slowest_solve_seconds": round(self.slowest_solve_seconds, 4),
            "loss": loss.total,
            "observed": loss.observed,
            "unobserved": loss.unobserved,
            "penalty": loss.penalty,
        }
        if self.metric is not None:
            record |= {"metric": self.metric, "evaluate_seconds": round(self.evaluate_seconds, 4)}
        return record

    def as_json(self) -> str:
        """One line of `events.jsonl`."""
        return json.dumps(self.as_record())


def as_jsonl(events: list[HalfIteration]) -> str:
    """All records, one per line."""
    return "".join(f"{event.as_json()}\n" for event in events)


def read_jsonl(text: str) -> list[dict[str, Any]]:
    """The records that `as_jsonl` wrote."""
    return [json.loads(line) for line in text.splitlines()]
