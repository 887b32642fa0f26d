"""Rows in batches: of similar length, so that padding is small, or consecutive ones, so that copies are small."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wals_spark.arrays.types import BoolArray, Int64Array

_BATCH_BYTES = 8 * 1024 * 1024  # of gathered rows, and of lhs: about the size of a core's caches
_SLICE_ROWS = 8192  # a float64 copy of 8192 × 128 is 8 MiB: small compared with the factors
_MAX_PADDING = 1.25  # longest row of a batch, divided by its shortest


def length_batches(counts: Int64Array, width: int) -> Iterator[Int64Array]:
    """Yield batches of row numbers, shortest rows first; rows of one batch have similar lengths, so padding is small.

    ``counts`` is the number of observations per row.
    """
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
    """Yield the observations of a batch of rows: their numbers, shape (n_rows, n_padded), and which are not padding.

    Rows with more observations than fit into a batch are cut into several chunks: there is no limit to their length.
    """
    begin = indptr[rows]
    counts = indptr[rows + 1] - begin
    step = max(1, _BATCH_BYTES // (8 * width * len(rows)))
    for offset in range(0, int(counts.max()), step):
        column = np.arange(offset, min(offset + step, int(counts.max())))  # (n_padded,)
        present = column < counts[:, None]  # (n_rows, n_padded)
        yield np.where(present, begin[:, None] + column, 0), present


def row_slices(n_rows: int) -> Iterator[slice]:
    """Yield consecutive slices that cover all rows in order."""
    for begin in range(0, n_rows, _SLICE_ROWS):
        yield slice(begin, begin + _SLICE_ROWS)
