"""Whether two models differ: the difference of a metric over the same users, with a paired bootstrap interval.

A user counts equally often in a replicate of one model's sums and of the other's (`bootstrap.poisson_counts`), so what
the models have in common, such as users who are easy to serve, cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from wals_spark.arrays.types import Float64Array
from wals_spark.evaluation.bootstrap import Estimate


def difference(model: Float64Array, against: Float64Array, *, level: float = 0.95) -> Estimate:
    """The value of a model minus that of another, and the interval: ± 1.96 standard deviations of the replicates.

    With a normal distribution the ends have less noise than quantiles of a few hundred replicates: without any
    difference, about 5 % of the intervals leave out 0.

    Parameters
    ----------
    model, against
        Shape (1 + replicates,): the values over all users, and in each replicate; nan where a metric is undefined.
    """
    value, *replicates = model - against
    sample = np.array([replicate for replicate in replicates if not np.isnan(replicate)])
    if len(sample) < 2 or np.isnan(value):
        return Estimate(float(value), np.nan, np.nan)
    reach = NormalDist().inv_cdf((1 + level) / 2) * sample.std(ddof=1)
    return Estimate(float(value), float(value - reach), float(value + reach))


def verdict(entry: Mapping[str, Any]) -> str:
    """``better`` or ``worse`` where the interval of a compared metric leaves out 0, else nothing."""
    low, high = entry.get("difference_low"), entry.get("difference_high")
    if low is None or high is None or low <= 0.0 <= high:
        return ""
    return "better" if (low > 0.0) == (entry["better"] == "higher") else "worse"
