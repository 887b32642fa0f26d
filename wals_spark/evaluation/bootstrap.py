"""Confidence intervals by the Poisson bootstrap: in each replicate, a user's count is a function of the user's key.

A bootstrap replicate draws users with replacement. With many users, the number of times that one of them is drawn is
Poisson distributed with mean 1 and independent of the others, so no task needs to know the number of users (Chamandy
et al. 2012, "Estimating uncertainty for massive data streams"). The counts are computed from the user's key: they are
the same for every partitioning and for every model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, factorial
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float64Array, UInt8Array, UInt64Array

_POISSON_CDF = np.cumsum([exp(-1.0) / factorial(count) for count in range(19)])  # of mean 1; beyond 18: 1e-17
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_BATCH_USERS = 4096  # with 200 replicates, their counts take 6.5 MB


@dataclass(frozen=True)
class MetricSums:
    """Sums of numerators and denominators over users, both of shape (1 + replicates, n_columns); they can be added.

    Row 0 is the data itself, in which each user counts once; the other rows are bootstrap replicates.
    """

    numerators: Float64Array
    denominators: Float64Array

    @classmethod
    def of(cls, numerators: Float64Array, denominators: Float64Array, keys: UInt64Array, replicates: int) -> MetricSums:
        """Sum over users: numerators and denominators have shape (n_users, n_columns), keys (n_users,)."""
        total = cls(*np.zeros((2, 1 + replicates, numerators.shape[1])))
        for begin in range(0, len(keys), _BATCH_USERS):
            batch = slice(begin, begin + _BATCH_USERS)
            counts = np.ones((1 + replicates, len(keys[batch])))
            counts[1:] = poisson_counts(keys[batch], replicates).T
            total += cls(counts @ numerators[batch], counts @ denominators[batch])
        return total

    @classmethod
    def merged(cls, partial_sums: Iterable[MetricSums]) -> MetricSums:
        """The total of at least one set of partial sums."""
        first, *others = partial_sums
        return sum(others, first)

    @property
    def ratios(self) -> Float64Array:
        """The metrics, shape (1 + replicates, n_columns); nan where the denominator is 0."""
        defined = self.denominators > 0
        return np.where(defined, self.numerators / np.where(defined, self.denominators, 1.0), np.nan)

    def __add__(self, other: MetricSums) -> MetricSums:
        return MetricSums(self.numerators + other.numerators, self.denominators + other.denominators)

    def __radd__(self, other: MetricSums) -> MetricSums:
        return other + self


class Estimate(NamedTuple):
    """The value of a metric over all users and its confidence interval, (nan, nan) without replicates."""

    value: float
    low: float
    high: float


def estimate_metrics(sums: MetricSums, *, level: float = 0.95) -> list[Estimate]:
    """The value of each column, with the percentile interval of its bootstrap replicates.

    A replicate whose denominator is 0 in a column is left out of this column's interval; a column whose denominator is
    0 in the data has the value nan.
    """
    estimates = []
    for value, *replicates in sums.ratios.T:
        sample = [ratio for ratio in replicates if not np.isnan(ratio)]
        bounds = np.quantile(sample, [(1.0 - level) / 2.0, (1.0 + level) / 2.0]) if sample else (np.nan, np.nan)
        estimates.append(Estimate(float(value), *map(float, bounds)))
    return estimates


def poisson_counts(keys: UInt64Array, replicates: int) -> UInt8Array:
    """How often each user counts in each replicate, shape (n_users, replicates): Poisson distributed with mean 1.

    Replicate b uses the b-th output of the SplitMix64 generator (Steele et al. 2014) seeded with the user's key.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is intended
        state = keys[:, None] + _GOLDEN_GAMMA * np.arange(1, replicates + 1, dtype=np.uint64)  # (n_users, replicates)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    uniform = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.asarray(np.searchsorted(_POISSON_CDF, uniform, side="right"), dtype=np.uint8)
