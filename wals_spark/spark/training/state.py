"""What training has at the end of a half-iteration, what is called then, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float32Array, Int64Array
from wals_spark.run.events import HalfIteration
from wals_spark.spark.training.half_iteration import Side
from wals_spark.spark.training.rdd import KeyedRecords, unpersist


class Evaluator(Protocol):
    """Judges factors while training runs.

    ``wanted`` are the rows of users, by block, whose factors ``value`` needs; with ``lower_is_better`` it is an error.
    """

    wanted: Mapping[int, Int64Array]
    lower_is_better: bool

    def value(self, users: Float32Array, items: Side) -> float:
        """The metric for the factors of the wanted users, shape (n_users, width), and of all items."""


@dataclass(frozen=True)
class Listeners:
    """What is called during training; an exception that one raises ends training.

    Attributes
    ----------
    on_weights
        Called before the first half-iteration with the distribution of the weights of observations; again if training
        starts again.
    on_half_iteration
        Called after each half-iteration with all events so far.
    on_iteration
        Called after each iteration but the last with its number and the current factors of users and of items.
    evaluator
        Evaluates after every ``evaluate_every`` iterations, and after the last.
    """

    on_weights: Callable[[Histogram], None] = lambda _: None
    on_half_iteration: Callable[[list[HalfIteration]], None] = lambda _: None
    on_iteration: Callable[[int, KeyedRecords, KeyedRecords], None] = lambda *_: None
    evaluator: Evaluator | None = None


class Best(NamedTuple):
    """The best iteration so far, its metric, the side that it solved first, and its rows that were evaluated."""

    iteration: int
    value: float
    side: Side
    wanted: Float32Array


@dataclass(frozen=True)
class TrainingState:
    """All that the rest of a training depends on, besides its settings and blocks.

    ``step`` counts solves, ``constant`` is of the loss (Σ k, the observed loss where all scores are 0), ``weights`` the
    distribution of the weights of observations; ``warm_rows`` are the rows of each side that a warm start took from a
    model.
    """

    events: list[HalfIteration]
    step: int
    constant: float
    weights: Histogram
    sides: Mapping[str, Side]
    best: Best | None
    warm_rows: Mapping[str, int]


class WarmStart(NamedTuple):
    """The factor tables of a model, by their paths, whose rows the ids that it has start from."""

    user_factors: str
    item_factors: str

    def table_of(self, side: str) -> str:
        """The table of ``users`` or of ``items``."""
        return self.user_factors if side == "users" else self.item_factors


class Checkpoints(Protocol):
    """Where states are kept."""

    def is_due(self) -> bool:
        """Whether it is time to save one."""

    def save(self, state: TrainingState) -> None:
        """Write a state."""

    def latest(self, sides: Mapping[str, Side]) -> TrainingState | None:
        """The last state that was saved and is whole; its sides are those given, with factors."""


@dataclass(frozen=True)
class Trained:
    """Factors of both sides, persisted until `unpersist`; the events; why it ended (``max_iter`` or ``tol``).

    ``kept`` is the half-iteration that the factors are of: the last, or that of the best iteration. ``warm_rows`` are
    the rows of each side that a warm start took from a model; empty without one.
    """

    user_factors: KeyedRecords
    item_factors: KeyedRecords
    events: list[HalfIteration]
    stopped_by: str
    kept: HalfIteration
    warm_rows: Mapping[str, int] = field(default_factory=dict)

    def unpersist(self) -> None:
        """Let Spark drop the factors."""
        unpersist(self.user_factors)
        unpersist(self.item_factors)
