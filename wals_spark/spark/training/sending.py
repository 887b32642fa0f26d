"""What a block sends to others, on an executor: rows, parts of heavy rows and their sums, weights of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

import numpy as np

from wals_spark.arrays.types import AnyArray, Float32Array
from wals_spark.blocks.encoding import (
    Record,
    RecordArrays,
    cut,
    group_records,
    join,
    keyed,
    records_of,
    to_records,
)
from wals_spark.blocks.in_out import InBlock, OutBlock
from wals_spark.blocks.weighted import item_weights
from wals_spark.objective.objective import Objective
from wals_spark.solvers.heavy_rows import (
    HeavyParts,
    address_heavy_parts,
    heavy_part_arrays,
    partial_normal_equations,
    read_heavy_parts,
    take_heavy_parts,
)
from wals_spark.spark.training.cache import MISSES, BlockCache, CachedSide

Records = Iterable[tuple[int, Record]]
Sent = Iterator[tuple[int, Record]]


def send_item_weights(block: int, records: Records, *, objective: Objective) -> Sent:
    """From an item block's in-block and out-block: the weights of items, for each user block that has them."""
    arrays = _arrays(records)
    return _sent_rows(block, OutBlock.read(arrays), item_weights(InBlock.read(arrays), objective)[:, None])


def send_parts(block: int, records: Records) -> Sent:
    """From what `weight_block` yields: the heavy parts, for the blocks of the other side."""
    return address_heavy_parts(block, (record for _, record in records))


def take_parts(block: int, records: Records) -> Sent:
    """From an out-block and heavy parts sent to it: the out-block that is left, and the parts that it computes."""
    arrays = _arrays(records)
    out_block, parts = take_heavy_parts(arrays, OutBlock.read(arrays))
    return keyed(block, to_records(chain(out_block.arrays(), heavy_part_arrays(parts))))


def send_block(
    block: int,
    records: Records,
    *,
    width: int,
    unobserved_weight_in_confidence: float,
    only: frozenset[int] | None = None,
) -> Sent:
    """From out-block, heavy parts and factors: the rows and partial normal equations that each destination needs.

    ``unobserved_weight_in_confidence`` is the solved side's objective's; ``only`` are the destinations, None: all.
    """
    grouped = group_records(record for _, record in records)
    arrays = RecordArrays(grouped)
    factors = join(records_of(grouped, "factors"), np.float32).reshape(-1, width)
    out_block, parts = OutBlock.read(arrays), read_heavy_parts(arrays)
    if only is not None:
        out_block = OutBlock.of({destination: rows for destination, rows in out_block.items() if destination in only})
        parts = {destination: part for destination, part in parts.items() if destination in only}
    rows = _sent_rows(block, out_block, factors)
    return chain(rows, _sent_sums(block, parts, factors, unobserved_weight_in_confidence))


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
    with suppress(*MISSES):
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
