"""A half-iteration on Spark: broadcasts the Gramian, and runs the tasks from the executor-local cache where it is."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from pyspark import Accumulator, Broadcast, SparkContext

from wals_spark.arrays.types import Float64Array
from wals_spark.errors import TrainingError
from wals_spark.solvers.gramian import merged
from wals_spark.solvers.half_iteration import BlockSummary
from wals_spark.solvers.start import Start
from wals_spark.spark.training.cache import CachedSide, CacheLocation
from wals_spark.spark.training.prepare import PreparedBlocks
from wals_spark.spark.training.rdd import (
    KeyedRecords,
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

_MAX_MISSES = 3  # half-iterations that ran for nothing before all later ones are sent everything


class LostSummaryError(TrainingError):
    """The rows of a block are there and its summary is not.

    Spark repeated a task whose result had been persisted already, so the task did nothing and reported nothing.
    """


@dataclass(frozen=True)
class Side:
    """A side in training: its prepared blocks, and its current factors (none before they are first solved).

    ``gramian`` (width, width) and ``penalty`` are of these factors, ``cached`` is where tasks cached them, if they did.
    ``solved_with`` is the broadcast that they were solved with: Spark sends it along with every task that reads them,
    so it lives as long as they do.
    """

    blocked: BlockedSide
    prepared: PreparedBlocks
    gramian: Float64Array
    penalty: float = 0.0
    factors: KeyedRecords | None = None
    solved_with: Broadcast[Float64Array] | None = None
    cached: CachedSide | None = None

    @property
    def current_factors(self) -> KeyedRecords:
        """The factors of a side that has some."""
        if self.factors is None:
            raise RuntimeError(f"{self.blocked.name} have no factors yet")
        return self.factors

    def with_factors(self, solved: Solved, step: int) -> tuple[Side, dict[int, BlockSummary]]:
        """The side with new factors, and the summaries of its blocks; the old ones are still persisted."""
        parts = {block: part for block, part in solved.summaries.items() if part is not None}
        locations = {n: CacheLocation(*part.location) for n, part in parts.items() if part.location is not None}
        side = replace(
            self,
            factors=solved.factors,
            gramian=merged({block: part.gramian for block, part in parts.items()}, len(self.gramian)),
            penalty=sum(parts[block].penalty for block in sorted(parts)),
            solved_with=solved.gramian,
            cached=CachedSide(locations, step) if len(locations) == self.blocked.n_blocks else None,
        )
        return side, parts

    def unpersist_blocks(self) -> None:
        """Let Spark drop the blocks."""
        unpersist(self.prepared.in_blocks)
        unpersist(self.prepared.out_blocks)

    def unpersist_factors(self) -> None:
        """Let Spark drop the factors and what they were solved with."""
        if self.factors is not None:
            unpersist(self.factors)
        if self.solved_with is not None:
            self.solved_with.destroy()


class Solved(NamedTuple):
    """Materialized factors of a side, and the summary of each block; None where a task did not find its cache.

    ``gramian`` is the broadcast that they were solved with, if they were.
    """

    factors: KeyedRecords
    summaries: dict[int, BlockSummary | None]
    gramian: Broadcast[Float64Array] | None = None


class BlockSolver:
    """Runs the tasks that solve the blocks of a side.

    ``name`` tells the caches of trainings apart.
    """

    def __init__(self, sc: SparkContext) -> None:
        self.name = uuid.uuid4().hex
        self._sc = sc
        self.summaries: Accumulator[Summaries] = sc.accumulator({}, MergedSummaries())
        self._misses = 0

    def start(self, side: Side, task: HalfIterationTask, start: Start) -> Solved:
        """Draw the factors of a side that the first half-iteration holds fixed."""
        records = zip_partitions(side.blocked.records("ids"), side.prepared.in_blocks)
        draw = partial(start_block, task=task, start=start)
        return self._materialized(records.mapPartitionsWithIndex(draw, preservesPartitioning=True), task, side)

    def solve(self, side: Side, other: Side, task: HalfIterationTask) -> Solved:
        """Solve the blocks of a side against the factors of the other, whose Gramian is broadcast."""
        gramian = self._sc.broadcast(other.gramian)
        task = replace(task, training=self._caches_as())
        if side.factors is not None and side.cached is not None and other.cached is not None:
            solved = self._from_cache(side, other, replace(task, cached=(side.cached, other.cached)), gramian)
            if None not in solved.summaries.values():
                return solved
            unpersist(solved.factors)
            self._misses += 1
            task = replace(task, training=self._caches_as())
            logger.info(
                "half-iteration %d: Spark ran tasks away from the machines that cache their blocks, so everything is "
                "sent to them%s; a longer spark.locality.wait keeps tasks there",
                task.number,
                "" if task.training else " from now on",
            )
        send = partial(
            send_block,
            width=len(other.gramian),
            unobserved_weight_in_confidence=task.objective.unobserved_weight_in_confidence,
        )
        sent = zip_partitions(other.prepared.out_blocks, other.current_factors).mapPartitionsWithIndex(send)
        records = [side.prepared.in_blocks]
        if task.training:
            records.append(side.prepared.out_blocks)
        if side.factors is not None and task.solver.needs_current_factors:
            records.append(side.factors)
        return self._run(side, task, gramian, by_block(sent, side.blocked.n_blocks), *records)

    def _from_cache(self, side: Side, other: Side, task: HalfIterationTask, gramian: Broadcast[Float64Array]) -> Solved:
        """Solve from what the tasks cached on their machines; only rows on other machines are sent."""
        assert side.cached is not None and other.cached is not None  # noqa: PT018  # as the caller checked
        received = None
        if side.prepared.has_heavy_rows or len(side.cached.hosts | other.cached.hosts) > 1:
            send = partial(
                send_cached_rows,
                fixed=other.cached,
                destinations=side.cached,
                unobserved_weight_in_confidence=task.objective.unobserved_weight_in_confidence,
            )
            sent = colocated_empty(other.current_factors).mapPartitionsWithIndex(send)
            received = by_block(sent, side.blocked.n_blocks)
        # Spark runs a task where its factors are, and there its cached files are, too.
        return self._run(side, task, gramian, received, colocated_empty(side.current_factors))

    def _caches_as(self) -> str:
        """The name under which tasks cache their blocks, none after too many misses."""
        return self.name if self._misses < _MAX_MISSES else ""

    def _run(
        self,
        side: Side,
        task: HalfIterationTask,
        gramian: Broadcast[Float64Array],
        received: KeyedRecords | None,
        *records: KeyedRecords,
    ) -> Solved:
        inputs = records if received is None else (*records, received)
        solve = partial(solve_block, task=task, gramian=gramian)
        factors = zip_partitions(*inputs).mapPartitionsWithIndex(solve, preservesPartitioning=True)
        solved = self._materialized(factors, task, side)
        if received is not None:
            delete_shuffle_files(received)
        return solved._replace(gramian=gramian)

    def _materialized(self, factors: KeyedRecords, task: HalfIterationTask, side: Side) -> Solved:
        """Compute factors, cut off their lineage, and collect the summaries of their blocks."""
        persist(factors).localCheckpoint()
        materialize(factors)
        summaries = {block: part for (number, block), part in self.summaries.value.items() if number == task.number}
        self.summaries.value = {}
        missing = side.blocked.n_blocks - len(summaries)
        if missing:
            raise LostSummaryError(f"half-iteration {task.number}: {missing} blocks of {task.side} reported no summary")
        return Solved(factors, summaries)
