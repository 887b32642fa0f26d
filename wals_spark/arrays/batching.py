"""Some rows at a time: of similar length, so that NumPy sees few padded arrays; or as they come, for a small copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wals_spark.arrays.types import BoolArray, Int64Array

_BATCH_BYTES = 8 * 1024 * 1024  # of gathered rows, and of lhs: about what a core's caches hold
_ROWS_AT_A_TIME = 8192  # a float64 copy of 8192 × 128 is 8 MiB: small beside the factors themselves
_MAX_PADDING = 1.25  # longest row of a batch, over its shortest


def length_batches(counts: Int64Array, width: int) -> Iterator[Int64Array]:
    """The numbers of the rows, batch by batch, shortest first; a batch wastes little on padding."""
    order = np.argsort(counts, kind="stable")
    lengths = counts[order]
    begin = 0
    while begin < len(order):
        shortest = max(1, int(lengths[begin]))
        end = int(np.searchsorted(lengths, shortest * _MAX_PADDING, side="right"))
        longest = max(width, int(lengths[end - 1]))
        end = min(end, begin + max(1, _BATCH_BYTES // (8 * width * longest)))
        yield order[begin:end]
        begin = end


def observation_chunks(indptr: Int64Array, rows: Int64Array, width: int) -> Iterator[tuple[Int64Array, BoolArray]]:
    """The observations of a batch: their numbers, shape (n, n_padded), and which of them are there.

    A row with more observations than fit into a batch comes in several chunks: nobody's history is too long.
    """
    begin = indptr[rows]
    counts = indptr[rows + 1] - begin
    step = max(1, _BATCH_BYTES // (8 * width * len(rows)))
    for offset in range(0, int(counts.max()), step):
        column = np.arange(offset, min(offset + step, int(counts.max())))  # (n_padded,)
        present = column < counts[:, None]  # (n, n_padded)
        yield np.where(present, begin[:, None] + column, 0), present


def row_slices(n_rows: int) -> Iterator[slice]:
    """All rows in their order, some at a time."""
    for begin in range(0, n_rows, _ROWS_AT_A_TIME):
        yield slice(begin, begin + _ROWS_AT_A_TIME)
