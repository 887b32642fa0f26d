"""Rows of factors as an Arrow column, `array<float>`, and back; how long they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wals_spark.arrow import as_arrow, as_numpy


def feature_column(rows: npt.NDArray[np.float32]) -> pa.Array:
    """A list of floats for each row of ``rows``, shape (n, width)."""
    n, width = rows.shape
    offsets = np.arange(n + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(as_arrow(offsets), as_arrow(rows.ravel()))


def feature_rows(column: pa.Array) -> npt.NDArray[np.float32]:
    """The rows of a column whose lists are of one length, shape (n, width); not a copy where Arrow has no gaps."""
    values: npt.NDArray[np.float32] = as_numpy(column.flatten())
    return values.reshape(len(column), -1) if len(column) else np.empty((0, 0), dtype=np.float32)


def squared_lengths(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``|y|²`` of each row, summed in float64, shape (n,)."""
    squares: npt.NDArray[np.float64] = np.einsum("nf,nf->n", rows, rows, dtype=np.float64)
    return squares
