"""The training loop: half-iterations until the end, their exact loss, the iteration that is kept, and recovery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from py4j.protocol import Py4JJavaError

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float32Array, Int64Array
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Loss, Objective
from wals_spark.run.convergence import has_converged, refuse_rising_loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.schedule import last_solver, solver_of
from wals_spark.settings.training import ResolvedTrain
from wals_spark.solvers.half_iteration import BlockSummary, Solver
from wals_spark.spark.training.build import Blocks
from wals_spark.spark.training.half_iteration import BlockSolver, LostSummaryError, Side, Solved
from wals_spark.spark.training.prepare import prepare_blocks
from wals_spark.spark.training.rdd import KeyedRecords, unpersist
from wals_spark.spark.training.tasks import HalfIterationTask

logger = logging.getLogger("wals_spark")

_MAX_ATTEMPTS = 3


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


@dataclass(frozen=True)
class Trained:
    """Factors of both sides, persisted until `unpersist`; the events; why it ended (``max_iter`` or ``tol``).

    ``kept`` is the half-iteration that the factors are of: the last, or that of the best iteration.
    """

    user_factors: KeyedRecords
    item_factors: KeyedRecords
    events: list[HalfIteration]
    stopped_by: str
    kept: HalfIteration

    def unpersist(self) -> None:
        """Let Spark drop the factors."""
        unpersist(self.user_factors)
        unpersist(self.item_factors)


def train(
    blocks: Blocks, objectives: Mapping[str, Objective], settings: ResolvedTrain, listeners: Listeners | None = None
) -> Trained:
    """Train from the start until ``max_iter`` or ``tol``.

    ``objectives`` has what is minimised for the rows of ``users`` and of ``items``: one objective, with the λ of each
    side.

    Factors are persisted on the executors without their lineage, so that the 200th iteration runs as the tenth did. If
    an executor is lost with factors that nothing else has, training starts again from the blocks, which are on
    storage, and arrives at the same model.

    Raises
    ------
    TrainingError
        If the loss rises or a row has no finite solution: which half-iteration, and which id.
    """
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        training = _Training(blocks, objectives, settings, listeners or Listeners())
        try:
            return training.run()
        except (Py4JJavaError, LostSummaryError) as error:
            training.unpersist()
            lost = isinstance(error, LostSummaryError) or "CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND" in str(error)
            if not lost or attempt == _MAX_ATTEMPTS:
                raise
            logger.warning(
                "factors were lost with an executor; training starts again from the blocks (attempt %d of %d)",
                attempt + 1,
                _MAX_ATTEMPTS,
            )
        except BaseException:
            training.unpersist()
            raise
    raise AssertionError("unreachable")


class _Best(NamedTuple):
    """The best iteration so far, its metric, the side that it solved first, and its rows that were evaluated."""

    iteration: int
    value: float
    side: Side
    wanted: Float32Array


class _Training:
    """One attempt, from the start to the end."""

    def __init__(
        self, blocks: Blocks, objectives: Mapping[str, Objective], settings: ResolvedTrain, listeners: Listeners
    ) -> None:
        self.blocks = blocks
        self.objectives = objectives
        self.settings = settings
        self.listeners = listeners
        self.sc = blocks.users.spark.sparkContext
        self.solver = BlockSolver(self.sc)
        self.constant = 0.0  # of the loss: Σ k, the observed loss where all scores are 0
        self.step = 0  # counts solves, of which the last half-iteration may take two
        self.planned = 2 * settings.max_iter
        self.sides: dict[str, Side] = {}
        self.first = settings.first_side
        self.second = "items" if self.first == "users" else "users"
        self.wanted = np.empty((0, settings.width), dtype=np.float32)  # the current rows that are evaluated
        self.best: _Best | None = None

    def run(self) -> Trained:
        users, items, settings = self.blocks.users, self.blocks.items, self.settings
        prepared = prepare_blocks(users, items, self.objectives, heavy_row_threshold=settings.heavy_row_threshold)
        no_rows = np.zeros((settings.width, settings.width))
        self.sides = {side.name: Side(side, prepared[side.name], no_rows) for side in (users, items)}
        self._start(self.second)
        events: list[HalfIteration] = []
        stopped_by = ""
        while not stopped_by:
            events.append(self._half_iteration(len(events) + 1))
            refuse_rising_loss(events, settings.solver, constant=self.constant)
            if has_converged(events, settings.tol):
                stopped_by = "tol"
                if solver_of(settings, len(events)) != last_solver(settings):
                    events[-1] = self._half_iteration(len(events), last_solver(settings))
            elif len(events) == self.planned:
                stopped_by = "max_iter"
            events[-1] = self._evaluated(events[-1], last=bool(stopped_by))
            self.listeners.on_half_iteration(events)
            if not stopped_by and events[-1].ends_iteration:
                self.listeners.on_iteration(events[-1].iteration, *self._factors())
        kept = self._keep(events[-1])
        self.solver.delete_cache(*self.sides.values())
        for side in self.sides.values():
            side.unpersist_blocks()
        return Trained(*self._factors(), events, stopped_by, kept)

    def unpersist(self) -> None:
        for side in self.sides.values():
            side.unpersist_blocks()
            side.unpersist_factors()
        if self.best is not None and self.best.side is not self.sides[self.first]:
            self.best.side.unpersist_factors()

    def _factors(self) -> tuple[KeyedRecords, KeyedRecords]:
        return self.sides["users"].current_factors, self.sides["items"].current_factors

    def _evaluated(self, event: HalfIteration, *, last: bool) -> HalfIteration:
        """The event with its metric, if it ends an iteration that is evaluated; the best so far is held."""
        evaluator, every = self.listeners.evaluator, self.settings.evaluate_every
        if evaluator is None or not event.ends_iteration or (event.iteration % every and not last):
            return event
        began = time.perf_counter()
        value = evaluator.value(self.wanted, self.sides["items"])
        event = replace(event, metric=value, evaluate_seconds=time.perf_counter() - began)
        if self.settings.keep == "best":
            outdone, sign = self.best, -1.0 if evaluator.lower_is_better else 1.0
            if outdone is None or sign * value > sign * outdone.value:
                self.best = _Best(event.iteration, value, self.sides[self.first], self.wanted)
                if outdone is not None:
                    outdone.side.unpersist_factors()
        return event

    def _keep(self, last: HalfIteration) -> HalfIteration:
        """Go back to the best iteration, if it is not the last: its model is that of ``max_iter`` = its number.

        Of that iteration, the side that is solved first is still there. The other side is solved against it again,
        now as the last half-iteration of a training is.
        """
        best, self.best = self.best, None
        if best is None or best.iteration == last.iteration:
            return last
        self.sides[self.first].unpersist_factors()
        self.sides[self.first], self.wanted = replace(best.side, cached=None), best.wanted
        kept = self._half_iteration(2 * best.iteration, last_solver(self.settings))
        return self._evaluated(kept, last=True)

    def _start(self, name: str) -> None:
        """Draw the factors of the side that the first half-iteration holds fixed."""
        self.sc.setJobDescription(f"start: draw {name}")
        side = self.sides[name]
        task = HalfIterationTask(0, name, self.objectives[name], self.solver.summaries)
        solved = self.solver.start(side, task, self.settings.start_options)
        parts = self._replaced(name, solved)
        self._warn_of_threads(max(part.blas_threads for part in parts.values()))
        weights = (part.weights for _, part in sorted(parts.items()) if part.weights is not None)
        self.constant = sum(part.constant for part in parts.values())
        self.listeners.on_weights(Histogram.merged(weights))

    def _warn_of_threads(self, n_threads: int) -> None:
        cores = int(self.sc.getConf().get("spark.task.cpus", "1") or 1)
        if n_threads > cores:
            logger.warning(
                "NumPy's BLAS runs %d threads in a task that has %d core(s), so tasks compete for cores. Set "
                "OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS) to %d in the driver's environment, or "
                "spark.executorEnv.OPENBLAS_NUM_THREADS before Spark starts",
                n_threads,
                cores,
                cores,
            )

    def _half_iteration(self, number: int, solver: Solver | None = None) -> HalfIteration:
        began = time.perf_counter()
        solved, fixed = (self.first, self.second) if number % 2 else (self.second, self.first)
        self.sc.setJobDescription(f"half-iteration {number}/{self.planned}: solve {solved}")
        self.step += 1
        side, other, objective = self.sides[solved], self.sides[fixed], self.objectives[solved]
        solver = solver or solver_of(self.settings, number)
        evaluator = self.listeners.evaluator
        reported = evaluator.wanted if evaluator is not None and solved == "users" else {}
        task = HalfIterationTask(
            number, solved, objective, self.solver.summaries, solver, step=self.step, reported=reported
        )
        parts = self._replaced(solved, self.solver.solve(side, other, task))
        self._refuse_unsolved(solved, number, parts)
        if reported:
            by_block = (part.reported for _, part in sorted(parts.items()))
            self.wanted = np.concatenate([of_block for of_block in by_block if of_block is not None])
        unobserved = float(np.vdot(self.sides[solved].gramian, other.gramian))
        loss = Loss(
            observed=sum(parts[block].observed for block in sorted(parts)),
            unobserved=objective.unobserved_weight * unobserved,
            penalty=self.sides["users"].penalty + self.sides["items"].penalty,
        )
        rows = sum(part.rows for part in parts.values())
        solve_seconds = [part.seconds for part in parts.values()]
        seconds = time.perf_counter() - began
        return HalfIteration(number, self.planned, solved, rows, seconds, loss, sum(solve_seconds), max(solve_seconds))

    def _replaced(self, name: str, solved: Solved) -> dict[int, BlockSummary]:
        """Give a side its new factors, and drop the old ones unless the best iteration has them; the summaries."""
        old = self.sides[name]
        self.sides[name], parts = old.with_factors(solved, self.step)
        if self.best is None or self.best.side is not old:
            old.unpersist_factors()
        return parts

    def _refuse_unsolved(self, name: str, number: int, parts: dict[int, BlockSummary]) -> None:
        for block, part in sorted(parts.items()):
            if part.failed_row >= 0:
                bad_id = self.sides[name].blocked.id_of(block, part.failed_row)
                raise TrainingError(
                    f"half-iteration {number}/{self.planned}: {name[:-1]} {bad_id!r} cannot be solved: "
                    f"{part.failure}. Raise train.reg_param, or look for extreme ratings of it"
                )
