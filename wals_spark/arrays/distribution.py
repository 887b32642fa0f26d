"""The distribution of numbers of either sign in mergeable sums: mean, standard deviation, and their magnitudes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import FloatArray, Indices


@dataclass(frozen=True)
class Distribution:
    """The sum of the numbers, the sum of their squares, and a histogram of their absolute values."""

    total: float = 0.0
    squares: float = 0.0
    magnitudes: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, values: FloatArray, counts: Indices) -> Distribution:
        """Count values, ``counts[j]`` times the value ``values[j]``; both (n,)."""
        exact = values.astype(np.float64)
        return cls(float(exact @ counts), float(exact**2 @ counts), Histogram.of(np.abs(exact), counts))

    @classmethod
    def merged(cls, parts: Iterable[Distribution]) -> Distribution:
        """The distribution of all values of all parts."""
        parts = list(parts)
        return cls(
            sum(part.total for part in parts),
            sum(part.squares for part in parts),
            Histogram.merged(part.magnitudes for part in parts),
        )

    def without_zeros(self, number: int) -> Distribution:
        """Without so many zeros, which sums do not have."""
        return replace(self, magnitudes=self.magnitudes.without_zeros(number))

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_record` reads."""
        return {"total": self.total, "squares": self.squares, "magnitudes": self.magnitudes.as_record()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Distribution:
        """The distribution that `as_record` wrote."""
        return cls(record["total"], record["squares"], Histogram.from_record(record["magnitudes"]))

    @property
    def mean(self) -> float:
        """The mean; 0 if there are no values."""
        return self.total / self.magnitudes.size if self.magnitudes.size else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation; 0 if there are no values."""
        size = self.magnitudes.size
        return math.sqrt(max(0.0, self.squares / size - self.mean**2)) if size else 0.0
