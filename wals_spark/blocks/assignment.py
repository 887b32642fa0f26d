"""Assigns rows to blocks: an id falls into a bucket by itself, and buckets are assigned to blocks by cost.

A block is one task of every half-iteration, and a half-iteration takes as long as its slowest task. If a hash alone
assigned rows, the most expensive of 100 blocks of long-tailed items would have 1.6 times the observations of the mean.
"""

from __future__ import annotations

import heapq
import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from wals_spark.arrays.arrow import as_numpy
from wals_spark.arrays.types import Indices, Int32Array, Int64Array

N_BUCKETS = 16_381  # a prime: ids that are multiples of a common number still spread over all buckets


class Assignment(NamedTuple):
    """The block of each bucket, int32, shape (N_BUCKETS,), below ``n_blocks``."""

    n_blocks: int
    block_of_bucket: Int32Array

    def block_of(self, ids: pa.Array) -> Int32Array:
        """The block of each id, shape (n,)."""
        return self.block_of_bucket[bucket_of(ids)]


def bucket_of(ids: pa.Array) -> Int64Array:
    """The bucket of each id: integers modulo `N_BUCKETS`, whatever their width; strings by CRC-32 of their UTF-8."""
    if pa.types.is_integer(ids.type):
        numbers = as_numpy(ids.cast(pa.int64()))
    else:
        numbers = np.fromiter((zlib.crc32(i.encode()) for i in ids.to_pylist()), dtype=np.int64, count=len(ids))
    buckets: Int64Array = np.mod(numbers, N_BUCKETS)
    return buckets


def assign_by_cost(costs: Indices, n_blocks: int, *, row_limit: int | None = None) -> Assignment:
    """Assign buckets with these ``costs``, shape (N_BUCKETS,), to blocks, longest processing time first.

    Buckets go in the order of their cost, most expensive first, each to the block with the least cost so far (Graham
    1969, LPT: the fullest block has at most 4/3 of what the best assignment gives it). No block stays empty while
    there are buckets for it; buckets without cost go round.

    A bucket above ``row_limit`` contains a heavy row, which the blocks of the other side sum (`solvers/heavy_rows.py`):
    to its own block it costs as much as a mean bucket.
    """
    if row_limit is not None:
        light = costs <= row_limit
        costs = np.where(light, costs, round(costs[light].mean()) if light.any() else 1)
    blocks = np.arange(N_BUCKETS, dtype=np.int32) % n_blocks
    longest_first = np.argsort(-costs, kind="stable")[: np.count_nonzero(costs)]
    loads = [(0, block) for block in range(n_blocks)]
    for bucket, cost in zip(longest_first.tolist(), costs[longest_first].tolist(), strict=True):
        load, block = loads[0]
        blocks[bucket] = block
        heapq.heapreplace(loads, (load + cost, block))
    return Assignment(n_blocks, blocks)
