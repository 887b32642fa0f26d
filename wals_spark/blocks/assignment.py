"""Ids in buckets, a function of the id alone; and buckets dealt out to blocks so that blocks cost alike.

A block is one task of every half-iteration, and the slowest task is how long it takes. Dealt out by a hash alone, the
dearest of 100 blocks of long-tailed items has 1.6 times the observations of the mean one.
"""

from __future__ import annotations

import heapq
import zlib

import numpy as np
import pyarrow as pa

from wals_spark.arrays.arrow import as_numpy
from wals_spark.arrays.types import Indices, Int32Array, Int64Array

N_BUCKETS = 16_381  # a prime: multiples of whatever the caller counts in still spread over all of them


def bucket_of(ids: pa.Array) -> Int64Array:
    """Each id's bucket: integers modulo `N_BUCKETS`, whatever their width; strings by CRC-32 of their UTF-8."""
    if pa.types.is_integer(ids.type):
        numbers = as_numpy(ids.cast(pa.int64()))
    else:
        numbers = np.fromiter((zlib.crc32(i.encode()) for i in ids.to_pylist()), dtype=np.int64, count=len(ids))
    buckets: Int64Array = np.mod(numbers, N_BUCKETS)
    return buckets


def assign_by_cost(costs: Indices, n_blocks: int, *, row_limit: int | None = None) -> Int32Array:
    """Deal buckets with these ``costs``, shape (N_BUCKETS,), out to blocks: each bucket's block, of the same shape.

    The dearest bucket first, each to the block that has the least so far (Graham 1969, LPT: no block has more than 4/3
    of what the best deal gives the fullest one). No block stays empty that need not. What costs nothing goes round.

    A bucket above ``row_limit`` holds a row of more observations, which other blocks will sum (`spread.py`): its block
    has no more to do with it than with a mean bucket.
    """
    if row_limit is not None:
        light = costs <= row_limit
        costs = np.where(light, costs, round(costs[light].mean()) if light.any() else 1)
    blocks = np.arange(N_BUCKETS, dtype=np.int32) % n_blocks
    dearest_first = np.argsort(-costs, kind="stable")[: np.count_nonzero(costs)]
    filled = [(0, block) for block in range(n_blocks)]
    for bucket, cost in zip(dearest_first.tolist(), costs[dearest_first].tolist(), strict=True):
        filled_to, block = filled[0]
        blocks[bucket] = block
        heapq.heapreplace(filled, (filled_to + cost, block))
    return blocks
