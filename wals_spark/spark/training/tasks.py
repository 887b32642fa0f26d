"""What an executor does for one block: pure functions from the records that a task receives to those that it yields."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.arrays.blas import blas_threads
from wals_spark.arrays.heap import freeze_modules, trim_heap
from wals_spark.arrays.types import AnyArray, Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.encoding import (
    GroupedRecords,
    Record,
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
from wals_spark.blocks.weighted import WeightedBlock, item_weights, item_weights_of_observed, weight_observations
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Objective
from wals_spark.solvers.half_iteration import CHOLESKY, BlockSummary, Solver, solve_rows, summarize_start
from wals_spark.solvers.heavy_rows import (
    HeavyParts,
    HeavyRows,
    add_partial_sums,
    address_heavy_parts,
    heavy_part_arrays,
    partial_normal_equations,
    read_heavy_parts,
    split_heavy_rows,
    take_heavy_parts,
)
from wals_spark.solvers.normal_equations import HeavyRowSums
from wals_spark.solvers.start import Start, start_factors
from wals_spark.solvers.systems import LeastSquares
from wals_spark.spark.training.cache import BlockCache, CachedSide

Records = Iterable[tuple[int, Record]]
Sent = Iterator[tuple[int, Record]]
Summaries = dict[tuple[int, int], BlockSummary | None]
"""By (half-iteration, block), so that a task that Spark runs twice reports once. None: its block is not cached here."""


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
    machines only. ``reported`` are the rows, by block, whose factors come with the summaries.
    """

    number: int
    side: str
    objective: Objective
    summaries: Accumulator[Summaries]
    solver: Solver = CHOLESKY
    training: str = ""
    step: int = 0
    cached: tuple[CachedSide, CachedSide] | None = None
    reported: Mapping[int, Int64Array] = field(default_factory=dict)


def send_item_weights(block: int, records: Records, *, objective: Objective) -> Sent:
    """From an item block's in-block and out-block: the weights of items, for each user block that has them."""
    arrays = _arrays(records)
    return _sent_rows(block, OutBlock.read(arrays), item_weights(InBlock.read(arrays), objective)[:, None])


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


def send_parts(block: int, records: Records) -> Sent:
    """From what `weight_block` yields: the heavy parts, for the blocks of the other side."""
    return address_heavy_parts(block, (record for _, record in records))


def take_parts(block: int, records: Records) -> Sent:
    """From an out-block and heavy parts sent to it: the out-block that is left, and the parts that it computes."""
    arrays = _arrays(records)
    out_block, parts = take_heavy_parts(arrays, OutBlock.read(arrays))
    return keyed(block, to_records(chain(out_block.arrays(), heavy_part_arrays(parts))))


def start_block(block: int, records: Records, *, task: HalfIterationTask, start: Start) -> Sent:
    """From ids and weighted block: the factors that training starts from."""
    grouped = group_records(record for _, record in records)
    arrays = RecordArrays(grouped)
    factors = start_factors(ids_of(grouped), start, side=task.side, held=task.objective.held)
    heavy = HeavyRows.read(arrays)
    times_of_heavy = heavy.times if len(heavy.rows) else None
    summary = summarize_start(factors, WeightedBlock.read(arrays), task.objective, times_of_heavy)
    task.summaries.add({(task.number, block): replace(summary, blas_threads=blas_threads())})
    return keyed(block, cut("factors", factors))


def send_block(block: int, records: Records, *, width: int, unobserved_weight_in_confidence: float) -> Sent:
    """From out-block, heavy parts and factors: the rows and partial normal equations that each destination needs.

    ``unobserved_weight_in_confidence`` is the solved side's objective's.
    """
    grouped = group_records(record for _, record in records)
    arrays = RecordArrays(grouped)
    factors = join(records_of(grouped, "factors"), np.float32).reshape(-1, width)
    rows = _sent_rows(block, OutBlock.read(arrays), factors)
    return chain(rows, _sent_sums(block, read_heavy_parts(arrays), factors, unobserved_weight_in_confidence))


def send_cached_rows(
    block: int,
    records: Records,
    *,
    fixed: CachedSide,
    destinations: CachedSide,
    unobserved_weight_in_confidence: float,
) -> Sent:
    """From the cache of this machine: rows for destinations on other machines, partial normal equations for all.

    Where the cache is gone nothing is sent, and `solve_block` notices.
    """
    deque(records, maxlen=0)  # there are none; Spark wants them read
    with suppress(FileNotFoundError):
        cache = BlockCache.at(fixed.locations[block])
        host, factors = cache.location.host, cache.factors(fixed.step)
        remote = {
            destination: rows
            for destination, rows in OutBlock.read(cache.arrays).items()
            if destinations.locations[destination].host != host
        }
        parts = read_heavy_parts(cache.arrays)
        return chain(
            _sent_rows(block, OutBlock.of(remote), factors),
            _sent_sums(block, parts, factors, unobserved_weight_in_confidence),
        )
    return iter(())


def solve_block(block: int, records: Records, *, task: HalfIterationTask, gramian: Broadcast[Float64Array]) -> Sent:
    """From weighted block, received rows and, for iterative solvers, current factors: the solved factors.

    With ``task.training`` the out-block and heavy parts come in, too, and all of it is cached on this machine, where
    later half-iterations map it.
    """
    trim_heap()
    grouped = group_records(record for _, record in records)
    width = len(gramian.value)
    try:
        read = _from_records if task.cached is None else _from_cache
        inputs = read(block, grouped, task, width)
    except FileNotFoundError:
        if task.cached is None:
            raise
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
    if inputs.cache is not None:
        inputs.cache.save_factors(result.factors, task.step)
        summary = replace(summary, location=inputs.cache.location)
    if block in task.reported:
        summary = replace(summary, reported=result.factors[task.reported[block]])
    task.summaries.add({(task.number, block): summary})
    freeze_modules()  # now that the kernels are loaded
    return keyed(block, cut("factors", result.factors))


class _Inputs(NamedTuple):
    """What a block is solved from."""

    cache: BlockCache | None
    weighted: WeightedBlock
    received: Float32Array
    current: Float32Array | None
    heavy_sums: HeavyRowSums | None


def _from_records(block: int, grouped: GroupedRecords, task: HalfIterationTask, width: int) -> _Inputs:
    arrays = RecordArrays(grouped)
    weighted, heavy = WeightedBlock.read(arrays), HeavyRows.read(arrays)
    current = _current_factors(block, grouped, task, (weighted.n_rows, width))
    cache = BlockCache.of(task.training, task.side, block) if task.training else None
    if cache is not None:
        out_block, parts = OutBlock.read(arrays), read_heavy_parts(arrays)
        cache.save_arrays(chain(weighted.arrays(), heavy.arrays(), out_block.arrays(), heavy_part_arrays(parts)))
    received = received_rows(grouped, weighted.offsets, width)
    heavy_sums = add_partial_sums(heavy, grouped.get("partial_sums", {}), width)
    return _Inputs(cache, weighted, received, current, heavy_sums)


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
    """Read from the cache of this machine; FileNotFoundError if some of it is not here."""
    assert task.cached is not None  # or the caller would read records
    solved, fixed = task.cached
    cache = BlockCache.at(solved.locations[block])
    weighted = WeightedBlock.read(cache.arrays)
    sources = set(np.flatnonzero(np.diff(weighted.offsets)).tolist()).difference(grouped.get("received", {}))
    received = received_rows(grouped, weighted.offsets, width, cached=_cached_rows(block, fixed, sources))
    heavy_sums = add_partial_sums(HeavyRows.read(cache.arrays), grouped.get("partial_sums", {}), width)
    return _Inputs(cache, weighted, received, cache.factors(solved.step), heavy_sums)


def _cached_rows(block: int, fixed: CachedSide, sources: Iterable[int]) -> Iterator[tuple[int, Float32Array, Indices]]:
    """What `received_rows` takes of source blocks that are cached here; maps one at a time."""
    for source in sources:
        cache = BlockCache.at(fixed.locations[source])
        yield source, cache.factors(fixed.step), OutBlock.read(cache.arrays)[block]


def _arrays(records: Records) -> RecordArrays:
    return RecordArrays(group_records(record for _, record in records))


def _sent_rows(block: int, out_block: OutBlock, rows: AnyArray) -> Sent:
    """To each destination, the rows of a block that it needs."""
    for destination, needed in out_block.items():
        yield from keyed(destination, cut("received", rows[needed], peer=block))


def _sent_sums(block: int, parts: HeavyParts, factors: Float32Array, unobserved_weight_in_confidence: float) -> Sent:
    """To each destination, the partial normal equations of its heavy rows that a block computes."""
    for destination, part in parts.items():
        sums = partial_normal_equations(part, factors, unobserved_weight_in_confidence)
        yield from keyed(destination, cut("partial_sums", sums, peer=block))
