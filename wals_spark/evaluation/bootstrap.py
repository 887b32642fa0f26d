"""Intervals by the Poisson bootstrap: each user counts in each replicate as often as the user's own numbers say.

A replicate draws users again with replacement. For many users the times that one of them is drawn are Poisson
distributed with mean 1, independent of the others, so no task needs to know how many users there are (Chamandy et al.
2012, "Estimating uncertainty for massive data streams"). The numbers are a function of the user's key: a user has the
same ones whatever the partitioning, and whichever model is judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, factorial
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float64Array, UInt8Array, UInt64Array

_POISSON = np.cumsum([exp(-1.0) / factorial(times) for times in range(19)])  # P(at most so often); then 1 - 1e-17
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_USERS_AT_A_TIME = 4096  # 200 replicates of them: 6.5 MB


@dataclass(frozen=True)
class Sums:
    """Numerators and denominators over users, both of shape (1 + replicates, n_columns); row 0 is the data itself."""

    numerators: Float64Array
    denominators: Float64Array

    @classmethod
    def of(cls, numerators: Float64Array, denominators: Float64Array, keys: UInt64Array, replicates: int) -> Sums:
        """Over the users of a task: numerators and denominators (n_users, n_columns), keys (n_users,)."""
        whole = cls(*np.zeros((2, 1 + replicates, numerators.shape[1])))
        for begin in range(0, len(keys), _USERS_AT_A_TIME):
            some = slice(begin, begin + _USERS_AT_A_TIME)
            times = np.ones((1 + replicates, len(keys[some])))
            times[1:] = poisson_times(keys[some], replicates).T
            whole += cls(times @ numerators[some], times @ denominators[some])
        return whole

    @classmethod
    def merged(cls, parts: Iterable[Sums]) -> Sums:
        """Of all users of all parts, of which there is one at least."""
        first, *others = parts
        return sum(others, first)

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.numerators + other.numerators, self.denominators + other.denominators)

    def __radd__(self, other: Sums) -> Sums:
        return other + self


class Estimate(NamedTuple):
    """A metric over all users and its interval; without replicates, the interval is (nan, nan)."""

    value: float
    low: float
    high: float


def estimates(sums: Sums, *, level: float = 0.95) -> list[Estimate]:
    """The value of each column, with the percentile interval of the replicates.

    A replicate that drew no user with a say in a column says nothing of it; a column in which nobody has one is nan.
    """
    counted = sums.denominators > 0
    ratios = np.where(counted, sums.numerators / np.where(counted, sums.denominators, 1.0), np.nan)
    found = []
    for value, *replicates in ratios.T:
        drawn = [ratio for ratio in replicates if not np.isnan(ratio)]
        ends = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0]) if drawn else (np.nan, np.nan)
        found.append(Estimate(float(value), *map(float, ends)))
    return found


def poisson_times(keys: UInt64Array, replicates: int) -> UInt8Array:
    """How often each user counts in each replicate, shape (n, replicates): Poisson distributed with mean 1.

    Replicate b has the b-th number of the generator SplitMix64 (Steele et al. 2014) that starts at the user's key.
    """
    with np.errstate(over="ignore"):  # modulo 2^64 is meant
        state = keys[:, None] + _GOLDEN * np.arange(1, replicates + 1, dtype=np.uint64)  # (n, replicates)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    uniform = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.asarray(np.searchsorted(_POISSON, uniform, side="right"), dtype=np.uint8)
