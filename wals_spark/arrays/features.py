"""Factor rows as an Arrow column of type `array<float>` and back, and their squared lengths."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.types import Float32Array, Float64Array


def feature_column(rows: Float32Array) -> pa.Array:
    """An Arrow column with one list of floats per row; ``rows`` have shape (n, width)."""
    n, width = rows.shape
    offsets = np.arange(n + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(as_arrow(offsets), as_arrow(rows.ravel()))


def feature_rows(column: pa.Array) -> Float32Array:
    """The rows of a column whose lists have equal lengths, shape (n, width); not copied if they are contiguous."""
    values: Float32Array = as_numpy(column.flatten())
    return values.reshape(len(column), -1) if len(column) else np.empty((0, 0), dtype=np.float32)


def squared_lengths(rows: Float32Array) -> Float64Array:
    """``|y|²`` of each row, summed in float64, shape (n,)."""
    squares: Float64Array = np.einsum("nf,nf->n", rows, rows, dtype=np.float64)
    return squares
