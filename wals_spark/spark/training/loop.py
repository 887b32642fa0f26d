"""Half-iterations over blocks: send factors, solve rows, add up the loss; nothing per user or item on the driver."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from py4j.protocol import Py4JJavaError
from pyspark import Accumulator, Broadcast, SparkContext

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float64Array
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Loss, Objective
from wals_spark.run.convergence import gain_is_small, refuse_rising_loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.schedule import last_solver, solver_of
from wals_spark.settings.training import Train
from wals_spark.solvers.gramian import merged
from wals_spark.solvers.half_iteration import BlockSummary, Solver
from wals_spark.spark.training.cache import CachedSide, CacheLocation
from wals_spark.spark.training.prepare import PreparedBlocks, prepare_blocks
from wals_spark.spark.training.rdd import (
    Keyed,
    by_block,
    colocated_empty,
    delete_shuffle_files,
    materialize,
    persist,
    unpersist,
    zip_partitions,
)
from wals_spark.spark.training.sides import BlockedSide
from wals_spark.spark.training.tasks import (
    HalfIterationTask,
    MergedSummaries,
    Summaries,
    send_block,
    send_cached_rows,
    solve_block,
    start_block,
)

logger = logging.getLogger("wals_spark")


_ATTEMPTS = 3
_MISSES = 3  # half-iterations run for nothing before everything is sent in all that follow

Inspect = Callable[[int, Keyed, Keyed], None]
"""Looks at training between two iterations: the iteration that ended, and the factors of users and of items."""


@dataclass(frozen=True)
class Side:
    """A side in training: its weighed blocks, kept in memory, and its factors as they stand (none before its turn).

    ``gramian`` (width, width) and ``penalty`` are of these factors, ``cached`` is where tasks left them, if they did.
    ``solved_with`` is the broadcast they were solved with: Spark sends it along with every task that reads them, so it
    lives as long as they do.
    """

    blocked: BlockedSide
    opened: PreparedBlocks
    gramian: Float64Array
    penalty: float = 0.0
    factors: Keyed | None = None
    solved_with: Broadcast[Float64Array] | None = None
    cached: CachedSide | None = None

    def unpersist_blocks(self) -> None:
        """Let Spark drop the blocks."""
        unpersist(self.opened.in_blocks)
        unpersist(self.opened.out_blocks)

    def unpersist_factors(self) -> None:
        """Let Spark drop the factors and what they were solved with."""
        if self.factors is not None:
            unpersist(self.factors)
        if self.solved_with is not None:
            self.solved_with.destroy()


@dataclass(frozen=True)
class Trained:
    """The outcome: factors of both sides, kept until `unpersist`; what happened; why it ended (``max_iter`` or ``tol``)."""

    user_factors: Keyed
    item_factors: Keyed
    events: list[HalfIteration]
    stopped_by: str

    def unpersist(self) -> None:
        """Let Spark drop the factors."""
        unpersist(self.user_factors)
        unpersist(self.item_factors)


def train(
    sc: SparkContext,
    users: BlockedSide,
    items: BlockedSide,
    settings: Train,
    objectives: Mapping[str, Objective],
    report: Callable[[list[HalfIteration]], None],
    describe: Callable[[Histogram], None] = lambda _: None,
    inspect: Inspect = lambda *_: None,
) -> Trained:
    """Train from the start until ``max_iter`` or ``tol``.

    ``objectives`` has what is minimised for the rows of ``users`` and of ``items``: one objective, with the λ of each
    side. Before the first half-iteration ``describe`` is given what the observations weigh; after each, ``report`` all
    events so far; after each iteration but the last, ``inspect`` the iteration's number and the factors of users and of
    items as they stand. What it raises ends training.

    Factors are kept on the executors without their history, so that the 200th iteration runs as the tenth did. If
    an executor is lost with factors nobody else has, training begins again from the blocks, which are on storage,
    and finds the same model.

    Raises
    ------
    TrainingError
        If the loss rises or a row has no finite solution: which half-iteration, and which id.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        training = _Training(sc, settings, objectives, report, describe, inspect)
        try:
            return training.run(users, items)
        except (Py4JJavaError, _LostSummaryError) as error:
            training.unpersist()
            lost = isinstance(error, _LostSummaryError) or "CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND" in str(error)
            if not lost or attempt == _ATTEMPTS:
                raise
            logger.warning(
                "factors were lost with an executor; training begins again from the blocks (attempt %d of %d)",
                attempt + 1,
                _ATTEMPTS,
            )
        except BaseException:
            training.unpersist()
            raise
    raise AssertionError("unreachable")


class _LostSummaryError(TrainingError):
    """A block's rows are there and its summary is not.

    Spark repeated a task whose result had been kept already, so its work was not done again and not reported.
    """


class _Training:
    """One attempt, from the start to the end."""

    def __init__(
        self,
        sc: SparkContext,
        settings: Train,
        objectives: Mapping[str, Objective],
        report: Callable[[list[HalfIteration]], None],
        describe: Callable[[Histogram], None],
        inspect: Inspect,
    ) -> None:
        self.sc = sc
        self.settings = settings
        self.objectives = objectives
        self.report = report
        self.describe = describe
        self.inspect = inspect
        self.name = uuid.uuid4().hex
        self.turn = 0
        self.misses = 0
        self.planned = 2 * settings.max_iter
        self.summaries: Accumulator[Summaries] = sc.accumulator({}, MergedSummaries())
        self.sides: dict[str, Side] = {}

    def run(self, users: BlockedSide, items: BlockedSide) -> Trained:
        opened = prepare_blocks(users, items, self.objectives, heavy_row_threshold=self.settings.heavy_row_threshold)
        nobody = np.zeros((self.settings.width, self.settings.width))
        self.sides = {side.name: Side(side, opened[side.name], nobody) for side in (users, items)}
        first = self.settings.first_side
        second = "items" if first == "users" else "users"
        self._start(second)
        events: list[HalfIteration] = []
        stopped_by = "max_iter"
        for number in range(1, self.planned + 1):
            solved, fixed = (first, second) if number % 2 else (second, first)
            solver = solver_of(self.settings, number)
            events.append(self._half_iteration(number, solved, fixed, solver))
            refuse_rising_loss(events, self.settings.solver)
            if gain_is_small(events, self.settings.tol):
                stopped_by = "tol"
                if solver != last_solver(self.settings):
                    events[-1] = self._half_iteration(number, solved, fixed, last_solver(self.settings))
            self.report(events)
            if stopped_by == "tol":
                break
            if number % 2 == 0 and number < self.planned:
                self.inspect(number // 2, self._factors("users"), self._factors("items"))
        for side in self.sides.values():
            side.unpersist_blocks()
        return Trained(self._factors("users"), self._factors("items"), events, stopped_by)

    def unpersist(self) -> None:
        for side in self.sides.values():
            side.unpersist_blocks()
            side.unpersist_factors()

    def _factors(self, name: str) -> Keyed:
        factors = self.sides[name].factors
        if factors is None:
            raise RuntimeError(f"{name} have no factors yet")
        return factors

    def _start(self, name: str) -> None:
        """Give a side the factors that the first half-iteration holds fixed."""
        side, settings = self.sides[name], self.settings
        self.sc.setJobDescription(f"start: draw {name}")
        task = HalfIterationTask(0, name, self.objectives[name], self.summaries)
        start = partial(start_block, task=task, settings=settings)
        records = zip_partitions(side.blocked.records("ids"), side.opened.in_blocks)
        factors = records.mapPartitionsWithIndex(start, preservesPartitioning=True)
        parts = self._replace_factors(name, factors, self._computed(factors, 0, name), 0)
        self._warn_of_threads(max(part.blas_threads for part in parts.values()))
        self.describe(Histogram.merged(part.weights for _, part in sorted(parts.items()) if part.weights is not None))

    def _warn_of_threads(self, most: int) -> None:
        cores = int(self.sc.getConf().get("spark.task.cpus", "1") or 1)
        if most > cores:
            logger.warning(
                "NumPy's BLAS runs %d threads in a task that has %d core(s), so tasks get in each other's way. "
                "Set OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS) to %d in the driver's environment, or "
                "spark.executorEnv.OPENBLAS_NUM_THREADS before Spark starts",
                most,
                cores,
                cores,
            )

    def _half_iteration(self, number: int, solved: str, fixed: str, solver: Solver) -> HalfIteration:
        began = time.perf_counter()
        sides = self.sides
        self.sc.setJobDescription(f"half-iteration {number}/{self.planned}: solve {solved}")
        self.turn += 1
        gramian = self.sc.broadcast(sides[fixed].gramian)
        factors, found = self._solved(number, solved, fixed, solver, gramian)
        parts = self._replace_factors(solved, factors, found, number, gramian)

        loss = Loss(
            observed=sum(parts[block].observed for block in sorted(parts)),
            unobserved=self.objectives[solved].unobserved_weight
            * float(np.vdot(sides[solved].gramian, sides[fixed].gramian)),
            penalty=sides["users"].penalty + sides["items"].penalty,
        )
        rows = sum(part.rows for part in parts.values())
        solving = [part.seconds for part in parts.values()]
        seconds = time.perf_counter() - began
        return HalfIteration(number, self.planned, solved, rows, seconds, loss, sum(solving), max(solving))

    def _solved(
        self, number: int, solved: str, fixed: str, solver: Solver, gramian: Broadcast[Float64Array]
    ) -> tuple[Keyed, dict[int, BlockSummary | None]]:
        """Solve a side, of what its tasks find on their machines if they can, else of what they are sent."""
        side, other = self.sides[solved], self.sides[fixed]
        unobserved_weight_in_confidence = self.objectives[solved].unobserved_weight_in_confidence
        task = HalfIterationTask(
            number, solved, self.objectives[solved], self.summaries, solver, self._leaves_files_as(), self.turn
        )
        if side.factors is not None and side.cached is not None and other.cached is not None:
            received = None
            if side.opened.has_heavy_rows or len(side.cached.hosts | other.cached.hosts) > 1:
                send_left = partial(
                    send_cached_rows,
                    fixed=other.cached,
                    destinations=side.cached,
                    unobserved_weight_in_confidence=unobserved_weight_in_confidence,
                )
                sent = colocated_empty(self._factors(fixed)).mapPartitionsWithIndex(send_left)
                received = by_block(sent, side.blocked.n_blocks)
            mapped = replace(task, cached=(side.cached, other.cached))
            # Spark runs a task where its factors are, and its files are there, too.
            factors, found = self._tasks_done(mapped, gramian, received, colocated_empty(side.factors))
            if None not in found.values():
                return factors, found
            unpersist(factors)
            self.misses += 1
            task = replace(task, training=self._leaves_files_as())
            logger.info(
                "half-iteration %d/%d: tasks are run away from what was left for them, so it is sent to them%s; "
                "a longer spark.locality.wait keeps them there",
                number,
                self.planned,
                "" if task.training else " from now on",
            )
        send = partial(
            send_block, width=self.settings.width, unobserved_weight_in_confidence=unobserved_weight_in_confidence
        )
        sent = zip_partitions(other.opened.out_blocks, self._factors(fixed)).mapPartitionsWithIndex(send)
        records = [side.opened.in_blocks]
        if task.training:
            records.append(side.opened.out_blocks)
        if side.factors is not None and solver.needs_start:
            records.append(side.factors)
        return self._tasks_done(task, gramian, by_block(sent, side.blocked.n_blocks), *records)

    def _leaves_files_as(self) -> str:
        """The name under which tasks leave files, none after too many misses."""
        return self.name if self.misses < _MISSES else ""

    def _tasks_done(
        self, task: HalfIterationTask, gramian: Broadcast[Float64Array], received: Keyed | None, *records: Keyed
    ) -> tuple[Keyed, dict[int, BlockSummary | None]]:
        given = records if received is None else (*records, received)
        solve = partial(solve_block, task=task, gramian=gramian)
        factors = zip_partitions(*given).mapPartitionsWithIndex(solve, preservesPartitioning=True)
        found = self._computed(factors, task.number, task.side)
        if received is not None:
            delete_shuffle_files(received)
        return factors, found

    def _computed(self, factors: Keyed, number: int, name: str) -> dict[int, BlockSummary | None]:
        """Compute new factors of a side and cut off their history; what each block says of its own."""
        persist(factors).localCheckpoint()
        materialize(factors)
        found = {block: part for (n, block), part in self.summaries.value.items() if n == number}
        self.summaries.value = {}
        missing = self.sides[name].blocked.n_blocks - len(found)
        if missing:
            raise _LostSummaryError(
                f"half-iteration {number}/{self.planned}: {missing} blocks of {name} gave no summary"
            )
        return found

    def _replace_factors(
        self,
        name: str,
        factors: Keyed,
        found: dict[int, BlockSummary | None],
        number: int,
        solved_with: Broadcast[Float64Array] | None = None,
    ) -> dict[int, BlockSummary]:
        """Put computed factors in the place of the old ones; their blocks' summaries, all of them there."""
        parts = {block: part for block, part in found.items() if part is not None}
        places = {block: CacheLocation(*part.place) for block, part in parts.items() if part.place is not None}
        old = self.sides[name]
        self.sides[name] = replace(
            old,
            factors=factors,
            gramian=merged({block: part.gramian for block, part in parts.items()}, self.settings.width),
            penalty=sum(parts[block].penalty for block in sorted(parts)),
            solved_with=solved_with,
            cached=CachedSide(places, self.turn) if len(places) == old.blocked.n_blocks else None,
        )
        old.unpersist_factors()
        self._refuse_unsolved(name, number, parts)
        return parts

    def _refuse_unsolved(self, name: str, number: int, parts: dict[int, BlockSummary]) -> None:
        for block, part in sorted(parts.items()):
            if part.failed_row >= 0:
                bad_id = self.sides[name].blocked.id_of(block, part.failed_row)
                raise TrainingError(
                    f"half-iteration {number}/{self.planned}: {name[:-1]} {bad_id!r} cannot be solved: "
                    f"{part.failure}. Raise train.reg_param, or look for extreme ratings of it"
                )
