"""Item vectors for search engines: inner products as cosines, narrower number types, and the recall that they leave.

Let M be the length of the longest item vector. A user x ranks items y by x·y exactly as by the cosine of

    (x, 0)    and    (y, √(M² − |y|²)) / M

where the item vectors have unit length (Bachrach et al., Speeding up the Xbox recommender system using a Euclidean
transformation for inner-product spaces, RecSys 2014): an engine that only ranks by cosines returns the same items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import AnyArray, Float32Array, Indices
from wals_spark.settings.export import Precision

_BATCH_ROWS = 65_536


def max_length(rows: Float32Array) -> float:
    """M: the length of the longest row; 0 if there are none."""
    squares = (squared_lengths(rows[begin : begin + _BATCH_ROWS]).max() for begin in range(0, len(rows), _BATCH_ROWS))
    return float(np.sqrt(max(map(float, squares), default=0.0)))


def augmented_items(rows: Float32Array, longest: float) -> Float32Array:
    """Items as unit vectors with one more coordinate, shape (n, width + 1); ``longest`` is M, above 0."""
    added = np.sqrt(np.maximum(longest**2 - squared_lengths(rows), 0.0))  # (n,)
    unit: Float32Array = (np.column_stack([rows, added]) / longest).astype(np.float32)
    return unit


def augmented_queries(rows: Float32Array) -> Float32Array:
    """Users as queries for augmented items, shape (n, width + 1); their lengths do not change a ranking."""
    return np.column_stack([rows, np.zeros(len(rows), dtype=np.float32)])


@dataclass(frozen=True)
class StoredVectors:
    """Vectors in a narrower number type; a slice returns float32.

    ``values``, shape (n, width), have the chosen precision. With int8, row k is ``scales[k] * values[k]`` and the
    largest magnitude in ``values[k]`` is 127; ``scales`` has shape (n,), and is None for other types.
    """

    values: AnyArray
    scales: Float32Array | None = None

    @classmethod
    def of(cls, rows: Float32Array, precision: Precision) -> StoredVectors:
        """Round rows to the precision.

        Raises
        ------
        OverflowError
            If a number is outside the range of float16.
        """
        if precision == "int8":
            scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / np.float32(127)
            return cls(np.rint(rows / scales[:, None]).astype(np.int8), scales)
        if precision == "float16" and len(rows) and np.abs(rows).max() > np.finfo(np.float16).max:
            raise OverflowError(f"{np.abs(rows).max():g} is outside the range of float16")
        return cls(rows.astype(precision))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Float32Array:
        values: Float32Array = self.values[rows].astype(np.float32)
        return values if self.scales is None else values * self.scales[rows, None]


def recall(retrieved: Indices, exact: Indices) -> float:
    """The mean over queries of the share of exact results that were retrieved; both have shape (n_queries, k)."""
    hits = (retrieved[:, :, None] == exact[:, None, :]).any(axis=1)
    return float(hits.mean())
