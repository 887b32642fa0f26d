"""The distribution of many positive numbers in mergeable counts: quantiles to 1 %, whatever the number of parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wals_spark.arrays.types import FloatArray, Indices

_BINS_AN_OCTAVE = 36  # a bin is 2 % wide, so its middle is within 1 %
_LOWEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Histogram:
    """Counts on a logarithmic scale, the exact extremes and the exact sum.

    ``counts`` has the number of values x with ⌊36 log₂ x⌋ equal to its key; zero and below go to the lowest bin.
    """

    counts: Counter[int] = field(default_factory=Counter)
    least: float = np.inf
    most: float = -np.inf
    total: float = 0.0

    @classmethod
    def of(cls, values: FloatArray | Indices, times: Indices) -> Histogram:
        """Count values, each of them ``times`` over."""
        if not len(values):
            return cls()
        bins = np.floor(_BINS_AN_OCTAVE * np.log2(np.maximum(values, _LOWEST))).astype(np.int64)
        counts: Counter[int] = Counter()
        for number, n in zip(bins.tolist(), times.tolist(), strict=True):
            counts[number] += n
        return cls(counts, float(values.min()), float(values.max()), float(values.astype(np.float64) @ times))

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """All values of all parts."""
        whole = cls()
        for part in parts:
            whole = cls(
                whole.counts + part.counts,
                min(whole.least, part.least),
                max(whole.most, part.most),
                whole.total + part.total,
            )
        return whole

    @classmethod
    def of_counts(cls, counts: Indices) -> Histogram:
        """Count whole numbers from 1, such as how many observations each row has."""
        values, times = np.unique(counts, return_counts=True)
        return cls.of(values, times)

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON; `from_record` is the way back."""
        return {"counts": sorted(self.counts.items()), "least": self.least, "most": self.most, "total": self.total}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Histogram:
        """What `as_record` gave."""
        return cls(Counter(dict(record["counts"])), record["least"], record["most"], record["total"])

    @property
    def size(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """Of all values; nan without any."""
        return self.total / self.size if self.size else float("nan")

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """The values below which a share of ``levels`` lies, each within 1 %; 0 and 1 are the exact extremes."""
        bins = np.array(sorted(self.counts))
        ranks = np.cumsum([self.counts[number] for number in bins.tolist()])
        found = []
        for level in levels:
            bin_number = bins[np.searchsorted(ranks, level * (ranks[-1] - 1), side="right").clip(0, len(bins) - 1)]
            middle = float(2.0 ** ((bin_number + 0.5) / _BINS_AN_OCTAVE))
            exact = {0.0: self.least, 1.0: self.most}
            found.append(exact.get(level, min(max(middle, self.least), self.most)))
        return found

    def octaves(self) -> dict[int, int]:
        """How many whole numbers from 1 lie in [1, 2), [2, 4), [4, 8), ..., by the least of each: gaps hold 0."""
        found: Counter[int] = Counter()
        for number, n in self.counts.items():
            found[number // _BINS_AN_OCTAVE] += n
        return {2**octave: found[octave] for octave in range(max(found, default=-1) + 1)}
