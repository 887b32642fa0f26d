"""Rows of factors from executors to the driver, packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from wals_spark.arrays.arrow import as_binary
from wals_spark.arrays.features import feature_rows
from wals_spark.arrays.types import Float32Array


def packed_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On an executor: columns of features as columns of bytes, which reach the driver without an object per number."""
    for batch in batches:
        for start in range(0, batch.num_rows, 1024):
            part = batch.slice(start, 1024)
            columns = [
                as_binary([row.tobytes() for row in feature_rows(part.column(n))]) for n in range(batch.num_columns)
            ]
            yield pa.record_batch(columns, names=batch.schema.names)


def unpacked_rows(rows: list[bytes]) -> Float32Array:
    """On the driver: the rows of a column of `packed_rows`, shape (n, width)."""
    if not rows:
        return np.empty((0, 0), dtype=np.float32)
    return np.frombuffer(b"".join(map(bytes, rows)), dtype=np.float32).reshape(len(rows), -1)
