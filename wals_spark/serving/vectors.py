"""Item vectors as search engines want them: inner products as cosines, in fewer bits, and what either costs.

With M the length of the longest item, a user x ranks items by x·y exactly as it does by the cosine of

    (x, 0)    and    (y, √(M² − |y|²)) / M

which is of unit length for every item (Bachrach et al., Speeding up the Xbox recommender system using a Euclidean
transformation for inner-product spaces, RecSys 2014): an engine that knows cosines alone finds the same items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import AnyArray, Float32Array, Indices

Precision = Literal["float32", "float16", "int8"]

_ROWS_AT_A_TIME = 65_536


def longest(rows: Float32Array) -> float:
    """M: the largest length of a row, 0 of none."""
    squares = (squared_lengths(rows[begin : begin + _ROWS_AT_A_TIME]) for begin in range(0, len(rows), _ROWS_AT_A_TIME))
    return float(np.sqrt(max((float(some.max()) for some in squares), default=0.0)))


def augmented_items(rows: Float32Array, largest: float) -> Float32Array:
    """Items as unit vectors of one coordinate more, shape (n, width + 1); ``largest`` is M, above 0."""
    rest = np.sqrt(np.maximum(largest**2 - squared_lengths(rows), 0.0))  # (n,)
    unit: Float32Array = (np.column_stack([rows, rest]) / largest).astype(np.float32)
    return unit


def augmented_queries(rows: Float32Array) -> Float32Array:
    """Users beside such items, shape (n, width + 1); their length does not change an order."""
    return np.column_stack([rows, np.zeros(len(rows), dtype=np.float32)])


@dataclass(frozen=True)
class Stored:
    """Rows in fewer bits; a slice of it gives float32 again.

    ``values`` (n, width) are of the chosen precision. Of int8, row k is ``scales[k] * values[k]``, where the largest
    of its values is 127; ``scales`` (n,) is None for others.
    """

    values: AnyArray
    scales: Float32Array | None = None

    @classmethod
    def of(cls, rows: Float32Array, precision: Precision) -> Stored:
        """Round rows to the precision.

        Raises
        ------
        OverflowError
            If a number is beyond float16.
        """
        if precision == "int8":
            scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / np.float32(127)
            return cls(np.rint(rows / scales[:, None]).astype(np.int8), scales)
        if precision == "float16" and len(rows) and np.abs(rows).max() > np.finfo(np.float16).max:
            raise OverflowError(f"{np.abs(rows).max():g} is beyond float16")
        return cls(rows.astype(precision))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Float32Array:
        values: Float32Array = self.values[rows].astype(np.float32)
        return values if self.scales is None else values * self.scales[rows, None]


def recall(found: Indices, exact: Indices) -> float:
    """The share of each query's exact items, shape (n_queries, k), that are among those found; the mean of queries."""
    hits = (found[:, :, None] == exact[:, None, :]).any(axis=1)
    return float(hits.mean())
