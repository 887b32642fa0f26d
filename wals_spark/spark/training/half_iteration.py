"""A half-iteration on Spark: broadcasts the Gramian, and runs the tasks from the executor-local cache where it is."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from pyspark import Accumulator, Broadcast, SparkContext

from wals_spark.arrays.types import Float32Array, Float64Array, Int64Array
from wals_spark.blocks.encoding import Record, join
from wals_spark.errors import TrainingError
from wals_spark.solvers.gramian import merged
from wals_spark.solvers.half_iteration import BlockSummary
from wals_spark.solvers.start import Start
from wals_spark.spark.training.cache import CachedSide, CacheLocation, delete_training
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
from wals_spark.spark.training.sending import send_block, send_cached_rows
from wals_spark.spark.training.sides import BlockedSide
from wals_spark.spark.training.tasks import (
    HalfIterationTask,
    MergedSummaries,
    Summaries,
    keep_solved,
    solve_block,
    start_block,
)

logger = logging.getLogger("wals_spark")

_MAX_MISSES = 3  # half-iterations in a row with blocks that missed the cache: then Spark moves tasks about
_PAUSE = 10  # half-iterations that are then sent everything, before the cache is tried again


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
        self._misses = 0  # in a row
        self._paused = 0  # half-iterations to go
        self._has_warned = self._has_cached = False
        self._never_caches = _reason_not_to_cache(sc)
        if self._never_caches:
            logger.info("blocks are not cached on executors: %s", self._never_caches)

    def start(self, side: Side, task: HalfIterationTask, start: Start, *, stored: KeyedRecords | None) -> Solved:
        """Draw the factors of a side; rows whose ids are among those of a model, ``stored``, are the model's."""
        of_blocks = (side.blocked.records("ids"), side.prepared.in_blocks)
        records = zip_partitions(*of_blocks, *([] if stored is None else [stored]))
        draw = partial(start_block, task=task, start=start)
        return self._materialized(records.mapPartitionsWithIndex(draw, preservesPartitioning=True), task, side)

    def solve(self, side: Side, other: Side, task: HalfIterationTask) -> Solved:
        """Solve the blocks of a side against the factors of the other, whose Gramian is broadcast."""
        gramian = self._sc.broadcast(other.gramian)
        self._paused = max(self._paused - 1, 0)
        task = replace(task, training="" if self._never_caches or self._paused else self.name)
        self._has_cached |= bool(task.training)
        if not task.training or side.factors is None or side.cached is None or other.cached is None:
            return self._noted(self._from_records(side, other, task, gramian))
        solved = self._from_cache(side, other, replace(task, cached=(side.cached, other.cached)), gramian)
        missed = frozenset(block for block, summary in solved.summaries.items() if summary is None)
        self._count(missed, task.number)
        if not missed:
            return self._noted(solved)
        again = self._from_records(side, other, replace(task, only=missed), gramian)
        return self._noted(self._joined(solved, again, missed))

    def delete_cache(self, *sides: Side) -> None:
        """Delete what tasks have cached, on the machines that have the factors of these sides."""
        drop = partial(_delete_training, training=self.name)
        for side in sides if self._has_cached else ():
            if side.factors is not None:
                materialize(colocated_empty(side.factors).mapPartitions(drop))

    def _count(self, missed: frozenset[int], number: int) -> None:
        """Count half-iterations in a row whose tasks missed the cache, and pause it after some."""
        self._misses = self._misses + 1 if missed else 0
        if missed:
            if self._misses == _MAX_MISSES:
                self._misses, self._paused = 0, _PAUSE
            logger.info(
                "half-iteration %d: %d blocks were not solved where they are cached, or their files are not as they "
                "were, so everything is sent to them%s; a longer spark.locality.wait keeps tasks there",
                number,
                len(missed),
                f", and to all blocks in the next {_PAUSE} half-iterations" if self._paused else "",
            )

    def _noted(self, solved: Solved) -> Solved:
        """The same, after a warning if a machine could not cache a block; the cache then pauses."""
        failures = [part.cache_failure for part in solved.summaries.values() if part and part.cache_failure]
        if failures:
            self._paused = _PAUSE
            if not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "%d blocks could not be cached on their executor, so all is sent to them, which takes longer: %s. "
                    "The cache is in spark.local.dir (SPARK_LOCAL_DIRS; of YARN, the node manager's): it needs room "
                    "there for the blocks once more, on a disk",
                    len(failures),
                    failures[0],
                )
        return solved

    def _joined(self, solved: Solved, again: Solved, missed: frozenset[int]) -> Solved:
        """The factors of all blocks, and their summaries, where some blocks were solved again."""
        both = zip_partitions(solved.factors, again.factors)
        factors = both.mapPartitionsWithIndex(partial(keep_solved, only=missed), preservesPartitioning=True)
        persist(factors).localCheckpoint()
        materialize(factors)
        unpersist(solved.factors)
        unpersist(again.factors)
        return Solved(factors, {**solved.summaries, **again.summaries}, solved.gramian)

    def _from_records(
        self, side: Side, other: Side, task: HalfIterationTask, gramian: Broadcast[Float64Array]
    ) -> Solved:
        """Solve from what is sent to the tasks: their blocks by Spark, rows by the other side's blocks."""
        send = partial(
            send_block,
            width=len(other.gramian),
            unobserved_weight_in_confidence=task.objective.unobserved_weight_in_confidence,
            only=task.only,
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
        missing = (side.blocked.n_blocks if task.only is None else len(task.only)) - len(summaries)
        if missing:
            raise LostSummaryError(f"half-iteration {task.number}: {missing} blocks of {task.side} reported no summary")
        return Solved(factors, summaries)


def _reason_not_to_cache(sc: SparkContext) -> str:
    """Why nothing may be cached on executors in this session; empty: it may."""
    conf = sc.getConf()
    if conf.get("spark.io.encryption.enabled", "false") == "true":
        return "spark.io.encryption.enabled asks for files on disk to be encrypted, and these would not be"
    if conf.get("spark.speculation", "false") == "true":
        # A copy of a task runs on another machine, without the files. Spark keeps what both copies return.
        return "with spark.speculation, copies of tasks run on machines that do not have their blocks"
    return ""


def _delete_training(records: Iterable[tuple[int, Record]], *, training: str) -> Iterator[tuple[int, Record]]:
    deque(records, maxlen=0)  # there are none; Spark wants them read
    delete_training(training)
    return iter(())


def rows_of(factors: KeyedRecords, wanted: Mapping[int, Int64Array], width: int) -> Float32Array:
    """Some rows of each block of factors, shape (n, width), in the order of the blocks."""
    rows = dict(factors.mapPartitionsWithIndex(partial(_wanted_rows, wanted=wanted, width=width)).collect())
    parts = [np.frombuffer(rows[block], dtype=np.float32).reshape(-1, width) for block in sorted(wanted)]
    return np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)


def _wanted_rows(
    block: int, records: Iterable[tuple[int, Record]], *, wanted: Mapping[int, Int64Array], width: int
) -> Iterator[tuple[int, bytes]]:
    factors = join((record for _, record in records), np.float32).reshape(-1, width)
    if block in wanted:
        yield block, factors[wanted[block]].tobytes()
