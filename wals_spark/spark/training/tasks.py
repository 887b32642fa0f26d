"""What an executor does for one block: from the pieces it is given to the pieces it gives, by pure functions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.arrays.blas import blas_threads
from wals_spark.arrays.heap import trim_heap
from wals_spark.arrays.types import AnyArray, Float32Array, Float64Array, Indices
from wals_spark.blocks.in_out import InBlock, OutBlock, out_block_from_records, out_block_records, received_rows
from wals_spark.blocks.records import GroupedRecords, Record, cut, group_records, join, join_ids, records_of
from wals_spark.blocks.weighted import WeightedBlock, item_weights, item_weights_of_observed, weight_observations
from wals_spark.objective.objective import Objective
from wals_spark.settings.training import Train
from wals_spark.solvers.half_iteration import CHOLESKY, BlockSummary, Solver, solve_rows, summarize_start
from wals_spark.solvers.heavy_rows import (
    HeavyParts,
    HeavyRows,
    add_partial_sums,
    address_heavy_parts,
    heavy_part_records,
    heavy_parts_from_records,
    split_heavy_rows,
    sums,
    take_heavy_parts,
)
from wals_spark.solvers.normal_equations import HeavyRowSums
from wals_spark.solvers.start import Start, start_factors
from wals_spark.spark.training.cache import BlockCache, CachedSide

Records = Iterable[tuple[int, Record]]
Sent = Iterator[tuple[int, Record]]
Summaries = dict[tuple[int, int], BlockSummary | None]
"""By (half-iteration, block): a task that Spark runs twice says the same thing twice. None: its block is elsewhere."""


class MergedSummaries(AccumulatorParam[Summaries]):
    """Brings the blocks' summaries to the driver with the end of their tasks, at no job of its own."""

    def zero(self, value: Summaries) -> Summaries:  # noqa: ARG002
        """No summaries."""
        return {}

    def addInPlace(self, value1: Summaries, value2: Summaries) -> Summaries:  # noqa: N802  # Spark's name
        """All of both."""
        value1.update(value2)
        return value1


@dataclass(frozen=True)
class HalfIterationTask:
    """All a task needs besides its pieces; half-iteration 0 is the start.

    With the name of a ``training``, tasks leave files on their machine, factors by the ``turn``. With ``cached``, what
    the blocks of the solved and of the fixed side left, a task is sent nothing but rows from other machines.
    """

    number: int
    side: str
    objective: Objective
    summaries: Accumulator[Summaries]
    solver: Solver = CHOLESKY
    training: str = ""
    turn: int = 0
    cached: tuple[CachedSide, CachedSide] | None = None


def send_item_weights(block: int, records: Records, *, objective: Objective) -> Sent:
    """Send each user block the weights of its items: in-block and out-block in, received rows of one number out."""
    found = group_records(record for _, record in records)
    return _sent(block, out_block_from_records(found), item_weights(InBlock.from_records(found), objective)[:, None])


def weight_block(
    block: int, records: Records, *, side: str, objective: Objective, row_limit: int | None = None
) -> Sent:
    """Weigh a block: in-block (and what `send_item_weights` sent a user block) in, weighed block out.

    With a ``row_limit`` the observations of rows that have more come out as parts for the other side (`send_parts`).
    """
    trim_heap()
    found = group_records(record for _, record in records)
    in_block = InBlock.from_records(found)
    multiplier = item_weights_of_observed(in_block, side, objective, found)
    weighted = weight_observations(in_block, objective, multiplier)
    return _keyed(block, (weighted if row_limit is None else split_heavy_rows(weighted, row_limit)).records())


def send_parts(block: int, records: Records) -> Sent:
    """Send the other side's blocks what they are to sum: what `weight_block` made in, parts out."""
    return address_heavy_parts(block, (record for _, record in records))


def take_parts(block: int, records: Records) -> Sent:
    """What a block sends from now on, and what it sums: its out-block and parts in, the shorter one and shares out."""
    found = group_records(record for _, record in records)
    out_block, shares = take_heavy_parts(found, out_block_from_records(found))
    return _keyed(block, chain(out_block_records(out_block), heavy_part_records(shares)))


def start_block(block: int, records: Records, *, task: HalfIterationTask, settings: Train) -> Sent:
    """Draw the factors that training starts from: ids and weighed block in, factors out."""
    found = group_records(record for _, record in records)
    factors = start_factors(
        join_ids(records_of(found, "ids")),
        Start(settings.rank, settings.seed, settings.start_scale, settings.positive_start),
        side=task.side,
        held=task.objective.held,
    )
    spread = HeavyRows.from_records(found)
    elsewhere = spread.times if len(spread.rows) else None
    summary = summarize_start(factors, WeightedBlock.from_records(found), task.objective, elsewhere)
    task.summaries.add({(task.number, block): replace(summary, blas_threads=blas_threads())})
    return _keyed(block, cut("factors", factors))


def send_block(block: int, records: Records, *, width: int, unobserved_weight_in_confidence: float) -> Sent:
    """Send each destination the rows and the sums it needs: out-block, shares and factors in, these out.

    ``unobserved_weight_in_confidence`` is the solved side's objective's.
    """
    found = group_records(record for _, record in records)
    factors = join(records_of(found, "factors"), np.float32).reshape(-1, width)
    rows = _sent(block, out_block_from_records(found), factors)
    return chain(rows, _sent_sums(block, heavy_parts_from_records(found), factors, unobserved_weight_in_confidence))


def send_cached_rows(
    block: int, records: Records, *, fixed: CachedSide, destinations: CachedSide, unobserved_weight_in_confidence: float
) -> Sent:
    """Send the destinations on other machines the rows they need, and all their sums, of what this block left here.

    If that is gone nothing is sent, and `solve_block` finds so.
    """
    deque(records, maxlen=0)  # there are none; Spark wants them read
    with suppress(FileNotFoundError):
        files = BlockCache.at(fixed.places[block])
        host, factors = files.place.host, files.factors(fixed.turn)
        away = {to: rows for to, rows in files.out_block().items() if destinations.places[to].host != host}
        return chain(
            _sent(block, away, factors), _sent_sums(block, files.shares(), factors, unobserved_weight_in_confidence)
        )
    return iter(())


def solve_block(block: int, records: Records, *, task: HalfIterationTask, gramian: Broadcast[Float64Array]) -> Sent:
    """Solve the rows of a block: weighed block, received rows and, for steps, factors as they stand in; factors out.

    With ``task.training`` the out-block and shares come in, too, and all is left on this machine, where the
    half-iterations after it can map it.
    """
    trim_heap()
    found = group_records(record for _, record in records)
    width = len(gramian.value)
    if task.cached is None:
        given = _from_records(block, found, task, width)
    else:
        try:
            given = _from_cache(block, found, *task.cached, width)
        except FileNotFoundError:
            task.summaries.add({(task.number, block): None})
            return iter(())
    found.clear()
    trim_heap()
    began = time.perf_counter()
    current = given.start if task.solver.needs_start else None
    system = (given.weighted, given.received, gramian.value, task.objective)
    result = solve_rows(*system, task.solver, current, given.add_partial_sums, overwrite_received=True)
    summary = replace(result.summary, seconds=time.perf_counter() - began)
    if given.files is not None:
        given.files.save_factors(result.factors, task.turn)
        summary = replace(summary, place=given.files.place)
    task.summaries.add({(task.number, block): summary})
    return _keyed(block, cut("factors", result.factors))


class _Given(NamedTuple):
    """What a block is solved with."""

    files: BlockCache | None
    weighted: WeightedBlock
    received: Float32Array
    start: Float32Array | None
    add_partial_sums: HeavyRowSums | None


def _from_records(block: int, found: GroupedRecords, task: HalfIterationTask, width: int) -> _Given:
    weighted, spread = WeightedBlock.from_records(found), HeavyRows.from_records(found)
    current = records_of(found, "factors")
    start = join(current, np.float32).reshape(-1, width) if current else None
    files = BlockCache.of(task.training, task.side, block) if task.training else None
    if files is not None:
        files.save_blocks(weighted, out_block_from_records(found), spread, heavy_parts_from_records(found))
    received = received_rows(found, weighted.offsets, width)
    return _Given(files, weighted, received, start, add_partial_sums(spread, found.get("sums", {}), width))


def _from_cache(block: int, found: GroupedRecords, stood: CachedSide, fixed: CachedSide, width: int) -> _Given:
    """FileNotFoundError if some of it is not here."""
    files = BlockCache.at(stood.places[block])
    weighted = files.weighted()
    sources = set(np.flatnonzero(np.diff(weighted.offsets)).tolist()).difference(found.get("received", {}))
    received = received_rows(found, weighted.offsets, width, at_hand=_at_hand(block, fixed, sources))
    added_up = add_partial_sums(files.spread(), found.get("sums", {}), width)
    return _Given(files, weighted, received, files.factors(stood.turn), added_up)


def _at_hand(block: int, fixed: CachedSide, sources: Iterable[int]) -> Iterator[tuple[int, Float32Array, Indices]]:
    """What `received_rows` takes of source blocks that left it here; one at a time is mapped."""
    for source in sources:
        files = BlockCache.at(fixed.places[source])
        yield source, files.factors(fixed.turn), files.out_block()[block]


def _sent(block: int, out_block: OutBlock, rows: AnyArray) -> Sent:
    """To each destination those of a block's rows that it needs."""
    for destination, needed in out_block.items():
        yield from _keyed(destination, cut("received", rows[needed], peer=block))


def _sent_sums(block: int, shares: HeavyParts, factors: Float32Array, unobserved_weight_in_confidence: float) -> Sent:
    """To each destination what a block's share of its spread rows adds up to."""
    for destination, share in shares.items():
        yield from _keyed(destination, cut("sums", sums(share, factors, unobserved_weight_in_confidence), peer=block))


def _keyed(block: int, records: Iterable[Record]) -> Sent:
    return ((block, record) for record in records)
