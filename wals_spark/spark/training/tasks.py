"""What an executor does for one block: pure functions from the records that a task receives to those that it yields."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.arrays.blas import blas_threads
from wals_spark.arrays.heap import freeze_modules, trim_heap
from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.encoding import (
    GroupedRecords,
    RecordArrays,
    cut,
    group_records,
    ids_of,
    join,
    keyed,
    records_of,
    to_records,
)
from wals_spark.blocks.in_out import InBlock, OutBlock, received_rows
from wals_spark.blocks.weighted import WeightedBlock, item_weights_of_observed, weight_observations
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Objective
from wals_spark.solvers.half_iteration import CHOLESKY, BlockSummary, Solver, solve_rows, summarize_start
from wals_spark.solvers.heavy_rows import (
    HeavyRows,
    add_partial_sums,
    heavy_part_arrays,
    read_heavy_parts,
    split_heavy_rows,
)
from wals_spark.solvers.normal_equations import HeavyRowSums
from wals_spark.solvers.start import Start, start_factors
from wals_spark.solvers.systems import LeastSquares
from wals_spark.spark.training.cache import MISSES, BlockCache, CachedSide
from wals_spark.spark.training.model_rows import matching_rows
from wals_spark.spark.training.sending import Records, Sent

Summaries = dict[tuple[int, int], BlockSummary | None]
"""By (half-iteration, block), so that a task that Spark runs twice reports once. None: it missed the cache."""


class MergedSummaries(AccumulatorParam[Summaries]):
    """Brings the summaries of the blocks to the driver as their tasks end, without a job of their own."""

    def zero(self, value: Summaries) -> Summaries:  # noqa: ARG002
        """No summaries."""
        return {}

    def addInPlace(self, value1: Summaries, value2: Summaries) -> Summaries:  # noqa: N802  # Spark's name
        """All of both."""
        value1.update(value2)
        return value1


@dataclass(frozen=True)
class HalfIterationTask:
    """All that a task needs besides its records; half-iteration 0 draws the start.

    With the name of a ``training``, a task caches its block on its machine, and its factors under the ``step``. With
    ``cached``, where the blocks of the solved and of the fixed side are cached, a task receives rows from other
    machines only. With ``only``, other blocks than these are not solved. ``reported`` are the rows, by block, whose
    factors come with the summaries.
    """

    number: int
    side: str
    objective: Objective
    summaries: Accumulator[Summaries]
    solver: Solver = CHOLESKY
    training: str = ""
    step: int = 0
    cached: tuple[CachedSide, CachedSide] | None = None
    only: frozenset[int] | None = None
    reported: Mapping[int, Int64Array] = field(default_factory=dict)


def weight_block(
    block: int, records: Records, *, side: str, objective: Objective, row_limit: int | None = None
) -> Sent:
    """From an in-block (and, for users, what `send_item_weights` sent): the weighted block.

    With a ``row_limit``, rows with more observations are heavy: their parts are for the other side (`send_parts`).
    """
    trim_heap()
    grouped = group_records(record for _, record in records)
    in_block = InBlock.read(RecordArrays(grouped))
    multiplier = item_weights_of_observed(in_block, side, objective, grouped)
    weighted = weight_observations(in_block, objective, multiplier)
    arrays = weighted.arrays() if row_limit is None else split_heavy_rows(weighted, row_limit).arrays()
    return keyed(block, to_records(arrays))


def start_block(block: int, records: Records, *, task: HalfIterationTask, start: Start) -> Sent:
    """From ids, weighted block and, for a warm start, a model's rows: the factors that training starts from."""
    grouped = group_records(record for _, record in records)
    arrays, ids = RecordArrays(grouped), ids_of(grouped)
    factors = start_factors(ids, start, side=task.side, held=task.objective.held)
    known, stored = matching_rows(grouped, ids)
    if len(known):
        factors[known] = stored
    heavy = HeavyRows.read(arrays)
    times_of_heavy = heavy.times if len(heavy.rows) else None
    summary = summarize_start(factors, WeightedBlock.read(arrays), task.objective, times_of_heavy)
    task.summaries.add({(task.number, block): replace(summary, blas_threads=blas_threads(), warm_rows=len(known))})
    return keyed(block, cut("factors", factors))


def solve_block(block: int, records: Records, *, task: HalfIterationTask, gramian: Broadcast[Float64Array]) -> Sent:
    """From weighted block, received rows and, for iterative solvers, current factors: the solved factors.

    With ``task.training`` the out-block and heavy parts come in, too, and all of it is cached on this machine, where
    later half-iterations map it.
    """
    trim_heap()
    grouped = group_records(record for _, record in records)
    if task.only is not None and block not in task.only:
        return iter(())
    width = len(gramian.value)
    if task.cached is None:
        inputs = _from_records(block, grouped, task, width)
    else:
        try:
            inputs = _from_cache(block, grouped, task, width)
        except MISSES:
            task.summaries.add({(task.number, block): None})
            return iter(())
    grouped.clear()
    trim_heap()
    began = time.perf_counter()
    result = solve_rows(
        LeastSquares(inputs.weighted, inputs.received, gramian.value, task.objective),
        task.solver,
        current=inputs.current if task.solver.needs_current_factors else None,
        heavy_sums=inputs.heavy_sums,
        overwrite_received=True,
    )
    summary = replace(result.summary, seconds=time.perf_counter() - began)
    summary = replace(summary, **_cached(inputs, result.factors, task.step))
    if block in task.reported:
        summary = replace(summary, reported=result.factors[task.reported[block]])
    task.summaries.add({(task.number, block): summary})
    freeze_modules()  # now that the kernels are loaded
    return keyed(block, cut("factors", result.factors))


def keep_solved(block: int, records: Records, *, only: frozenset[int]) -> Sent:
    """From the factors of a block, twice if it is one of ``only``, solved again: once."""
    if block not in only:
        return iter(records)
    return keyed(block, {record.start: record for _, record in records}.values())


class _Inputs(NamedTuple):
    """What a block is solved from; ``failure`` says why it is not cached, if that failed."""

    cache: BlockCache | None
    failure: str
    weighted: WeightedBlock
    received: Float32Array
    current: Float32Array | None
    heavy_sums: HeavyRowSums | None


def _from_records(block: int, grouped: GroupedRecords, task: HalfIterationTask, width: int) -> _Inputs:
    arrays = RecordArrays(grouped)
    weighted, heavy = WeightedBlock.read(arrays), HeavyRows.read(arrays)
    current = _current_factors(block, grouped, task, (weighted.n_rows, width))
    cache, failure = None, ""
    if task.training:
        out_block, parts = OutBlock.read(arrays), read_heavy_parts(arrays)
        saved = [*weighted.arrays(), *heavy.arrays(), *out_block.arrays(), *heavy_part_arrays(parts)]
        try:
            cache = BlockCache.saved(task.training, task.side, block, saved)
        except MISSES as error:
            failure = str(error)
    received = received_rows(grouped, weighted.offsets, width)
    heavy_sums = add_partial_sums(heavy, grouped.get("partial_sums", {}), width)
    return _Inputs(cache, failure, weighted, received, current, heavy_sums)


def _cached(inputs: _Inputs, factors: Float32Array, step: int) -> dict[str, Any]:
    """Cache the solved factors; what the summary says of it."""
    if inputs.cache is None:
        return {"cache_failure": inputs.failure}
    try:
        inputs.cache.save_factors(factors, step)
    except MISSES as error:
        return {"cache_failure": str(error)}
    return {"location": inputs.cache.location}


def _current_factors(
    block: int, grouped: GroupedRecords, task: HalfIterationTask, shape: tuple[int, int]
) -> Float32Array | None:
    """The factors that iterative solvers start from; None for other solvers, and in the first half-iteration."""
    records = records_of(grouped, "factors")
    if not task.solver.needs_current_factors or (not records and task.number == 1):
        return None
    factors = join(records, np.float32).reshape(-1, shape[1]) if records else np.empty((0, shape[1]), np.float32)
    if factors.shape != shape:
        raise TrainingError(
            f"half-iteration {task.number}: block {block} of {task.side} has {len(factors)} rows of current factors "
            f"where it has {shape[0]} rows: a part of them was lost. Run the training again, and please report it"
        )
    return factors


def _from_cache(block: int, grouped: GroupedRecords, task: HalfIterationTask, width: int) -> _Inputs:
    """Read from the cache of this machine; one of `MISSES` if some of it is not here."""
    assert task.cached is not None  # or the caller would read records
    solved, fixed = task.cached
    cache = BlockCache.at(solved.locations[block])
    weighted = WeightedBlock.read(cache.arrays)
    sources = set(np.flatnonzero(np.diff(weighted.offsets)).tolist()).difference(grouped.get("received", {}))
    received = received_rows(grouped, weighted.offsets, width, cached=_cached_rows(block, fixed, sources))
    heavy_sums = add_partial_sums(HeavyRows.read(cache.arrays), grouped.get("partial_sums", {}), width)
    return _Inputs(cache, "", weighted, received, cache.factors(solved.step), heavy_sums)


def _cached_rows(block: int, fixed: CachedSide, sources: Iterable[int]) -> Iterator[tuple[int, Float32Array, Indices]]:
    """What `received_rows` takes of source blocks that are cached here; maps one at a time."""
    for source in sources:
        cache = BlockCache.at(fixed.locations[source])
        yield source, cache.factors(fixed.step), OutBlock.read(cache.arrays)[block]
