"""The distribution of positive numbers in mergeable counts: quantiles within 1 %, however the data is partitioned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wals_spark.arrays.types import Float64Array, FloatArray, Indices

_BINS_PER_OCTAVE = 36  # a bin is 2 % wide, so its middle is within 1 %
_SMALLEST = np.finfo(np.float32).tiny
_LOWEST_BIN = int(np.floor(_BINS_PER_OCTAVE * np.log2(_SMALLEST)))


@dataclass(frozen=True)
class Histogram:
    """Counts on a logarithmic scale, the exact minimum and maximum, and the exact sum.

    ``counts`` maps a bin b to the number of values x with ⌊36 log₂ x⌋ = b; zero and below go to the lowest bin.
    """

    counts: Counter[int] = field(default_factory=Counter)
    minimum: float = np.inf
    maximum: float = -np.inf
    total: float = 0.0

    @classmethod
    def of(cls, values: FloatArray | Indices, counts: Indices) -> Histogram:
        """Count values, ``counts[j]`` times the value ``values[j]``; both (n,)."""
        if not len(values):
            return cls()
        bins = np.floor(_BINS_PER_OCTAVE * np.log2(np.maximum(values, _SMALLEST))).astype(np.int64)
        by_bin: Counter[int] = Counter()
        for bin_number, count in zip(bins.tolist(), counts.tolist(), strict=True):
            by_bin[bin_number] += count
        return cls(by_bin, float(values.min()), float(values.max()), float(values.astype(np.float64) @ counts))

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """The distribution of all values of all histograms."""
        merged = cls()
        for histogram in histograms:
            merged = cls(
                merged.counts + histogram.counts,
                min(merged.minimum, histogram.minimum),
                max(merged.maximum, histogram.maximum),
                merged.total + histogram.total,
            )
        return merged

    def without_zeros(self, number: int) -> Histogram:
        """Without so many values of 0; if that are all of the lowest bin, the minimum is the middle of the next one."""
        counts = self.counts - Counter({_LOWEST_BIN: number})  # keeps positive counts alone
        if counts and _LOWEST_BIN in self.counts and _LOWEST_BIN not in counts:
            return replace(self, counts=counts, minimum=2.0 ** ((min(counts) + 0.5) / _BINS_PER_OCTAVE))
        return replace(self, counts=counts)

    @classmethod
    def of_counts(cls, counts: Indices) -> Histogram:
        """The distribution of whole numbers from 1, such as the number of observations of each row."""
        values, repetitions = np.unique(counts, return_counts=True)
        return cls.of(values, repetitions)

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_record` reads."""
        return {
            "counts": sorted(self.counts.items()),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "total": self.total,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Histogram:
        """The histogram that `as_record` wrote."""
        return cls(Counter(dict(record["counts"])), record["minimum"], record["maximum"], record["total"])

    @property
    def size(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """The mean of all values; nan if there are none."""
        return self.total / self.size if self.size else float("nan")

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """The quantiles at ``levels``, from 0 to 1, each within 1 %; those at 0 and 1 are exact."""
        bins = np.array(sorted(self.counts))
        cumulative = np.cumsum([self.counts[bin_number] for bin_number in bins.tolist()])
        exact = {0.0: self.minimum, 1.0: self.maximum}
        quantiles = []
        for level in levels:
            index = np.searchsorted(cumulative, level * (cumulative[-1] - 1), side="right").clip(0, len(bins) - 1)
            quantiles.append(exact.get(level, float(self._middles(bins[index]))))
        return quantiles

    def mean_of(self, function: Callable[[Float64Array], Float64Array]) -> float:
        """The mean of a function of all values, each taken as the middle of its bin; nan if there are none."""
        bins = sorted(self.counts)
        counts = np.array([self.counts[bin_number] for bin_number in bins])
        total = function(self._middles(np.array(bins, dtype=np.float64))) @ counts
        return float(total / self.size) if self.size else float("nan")

    def _middles(self, bins: Indices | Float64Array) -> Float64Array:
        """The middle of each bin, within the minimum and the maximum."""
        middles: Float64Array = np.clip(2.0 ** ((bins + 0.5) / _BINS_PER_OCTAVE), self.minimum, self.maximum)
        return middles

    def octaves(self) -> dict[int, int]:
        """How many whole numbers lie in [1, 2), [2, 4), [4, 8), ..., by the lower end of each; empty ones have 0."""
        by_exponent: Counter[int] = Counter()
        for bin_number, count in self.counts.items():
            by_exponent[bin_number // _BINS_PER_OCTAVE] += count
        return {2**exponent: by_exponent[exponent] for exponent in range(max(by_exponent, default=-1) + 1)}
