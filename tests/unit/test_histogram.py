from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.histogram import Histogram

LEVELS = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0]


@given(st.integers(1, 500), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 5.0]))
def test_quantiles_of_merged_parts_are_those_of_all_values_within_one_percent(n, parts, seed, spread):
    values = np.exp(np.random.default_rng(seed).normal(scale=spread, size=n)).astype(np.float32)
    whole = Histogram.merged(Histogram.of(part, np.ones(len(part), int)) for part in np.array_split(values, parts))
    exact = np.quantile(values, LEVELS, method="lower")
    np.testing.assert_allclose(whole.quantiles(LEVELS), exact, rtol=0.011)
    assert whole.quantiles([0.0, 1.0]) == [values.min(), values.max()]
    assert whole.size == n
    np.testing.assert_allclose(whole.mean, values.mean(dtype=np.float64), rtol=1e-9)


def test_zero_is_a_value_and_no_values_are_no_error():
    assert Histogram.of(np.array([0.0, 4.0]), np.array([2, 1])).quantiles([0.0, 0.5, 1.0])[::2] == [0.0, 4.0]
    assert Histogram.merged([Histogram.of(np.empty(0), np.empty(0, int))]).size == 0
