"""Matrix products of some queries and some items at a time, and the order in which items are looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import Float32Array, Float64Array, Int32Array, Int64Array

UNIT_ROUNDOFF = 2.0**-24  # of float32
_ROWS_PER_PART = 65_536


class Tiling(NamedTuple):
    """Queries and items of one matrix product, and whether compiled kernels are used: the results do not depend on it.

    With these sizes the scores of a product are 2 MB, which are read again at once.
    """

    queries: int = 1024
    items: int = 512
    compiled: bool = True

    def buffer(self) -> Float32Array:
        """Memory for the scores of one product."""
        return np.empty(self.queries * self.items, dtype=np.float32)


class LongestFirst(NamedTuple):
    """Items by their length, the longest first, and by position where lengths are equal.

    Attributes
    ----------
    order : int32, shape (n_items,)
        Their positions.
    place : int32, shape (n_items,)
        The place of each position in ``order``.
    lengths : float64, shape (n_items,)
        The lengths of the items in this order.
    """

    order: Int32Array
    place: Int32Array
    lengths: Float64Array

    @classmethod
    def of(cls, items: Float32Array) -> LongestFirst:
        """The order of items, shape (n_items, width), which are read in parts."""
        parts = [lengths_of(items[first : first + _ROWS_PER_PART]) for first in range(0, len(items), _ROWS_PER_PART)]
        lengths = np.concatenate([np.empty(0), *parts])
        order = np.argsort(-lengths, kind="stable").astype(np.int32)
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=np.int32)
        return cls(order, place, lengths[order])


class Tile(NamedTuple):
    """The matrix product of n queries and m items.

    Attributes
    ----------
    queries, items : float32, shapes (n, width) and (m, width)
    rows : int64, shape (n,)
        The numbers of the queries in their batch.
    positions : int32, shape (m,)
        The positions of the items.
    scores : float32, shape (n, m)
        Products, off the true scores by at most ``error``; -inf for excluded items.
    error : float32, shape (n,)
    """

    queries: Float32Array
    items: Float32Array
    rows: Int64Array
    positions: Int32Array
    scores: Float32Array
    error: Float32Array


def product(
    queries: Float32Array, items: Float32Array, numbers: tuple[Int64Array, Int32Array], buffer: Float32Array
) -> Tile:
    """The product of queries and items of these ``numbers``, in the buffer, which the next tile overwrites."""
    # |fl(xᵀy) - xᵀy| <= width u Σ|x_a y_a| in any order of summation (Higham 2002, section 3.1), and a few u more
    # for the rounding of the score and of the bounds that are computed with it.
    width = queries.shape[1]
    error = (width + 8) * UNIT_ROUNDOFF * lengths_of(queries) * lengths_of(items).max(initial=0.0)
    scores = buffer[: len(queries) * len(items)].reshape(len(queries), len(items))
    np.matmul(queries, items.T, out=scores)
    return Tile(queries, items, *numbers, scores, error.astype(np.float32))


def lengths_of(rows: Float32Array) -> Float64Array:
    """The Euclidean length of each row, shape (n,)."""
    norms: Float64Array = np.sqrt(squared_lengths(rows))
    return norms
