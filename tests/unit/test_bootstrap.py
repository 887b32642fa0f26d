from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.bootstrap import Sums, estimates, poisson_times


def keys(n, seed=0):
    return np.random.default_rng(seed).integers(2**64, size=n, dtype=np.uint64)


def test_users_count_as_often_as_poisson_numbers_of_mean_one_do():
    times = poisson_times(keys(2000), 100).astype(float)
    assert times.mean() == pytest.approx(1.0, abs=0.01)
    assert times.var() == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(times.T) - np.eye(100)).max() < 0.12  # replicates are independent: 5 / sqrt(2000)
    assert abs(np.corrcoef(times[:100]) - np.eye(100)).max() < 0.5  # and so are users: 5 / sqrt(100)


@given(cuts=st.lists(st.integers(0, 30), max_size=5), seed=st.integers(0, 99))
def test_sums_are_the_same_however_users_are_grouped(cuts, seed):
    rng = np.random.default_rng(seed)
    values, weights = rng.random((2, 30, 3))
    whole = Sums.of(values, weights, keys(30), 8)
    order = rng.permutation(30)
    groups = np.split(order, sorted(cuts))
    merged = Sums.merged(Sums.of(values[some], weights[some], keys(30)[some], 8) for some in groups)
    np.testing.assert_allclose(merged.numerators, whole.numerators, rtol=1e-12)
    np.testing.assert_allclose(merged.denominators, whole.denominators, rtol=1e-12)


def test_each_replicate_is_the_mean_of_users_as_often_as_they_count():
    values = np.random.default_rng(1).random((5000, 1))  # more than are taken at a time
    sums = Sums.of(values, np.ones_like(values), keys(5000), 3)
    for replicate, times in enumerate(poisson_times(keys(5000), 3).T):
        drawn = np.repeat(values[:, 0], times)
        assert sums.numerators[1 + replicate] / sums.denominators[1 + replicate] == pytest.approx(drawn.mean())
    assert sums.numerators[0] / sums.denominators[0] == pytest.approx(values.mean())


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Hit rates of 300 users at a true 0.3, and a ratio whose denominators differ, at a true 0.5; 400 times each."""
    rng, holds = np.random.default_rng(2), np.zeros(2)
    for _ in range(400):
        ratings = rng.exponential(size=300)
        values = np.column_stack([rng.random(300) < 0.3, ratings * rng.random(300)])
        weights = np.column_stack([np.ones(300), ratings])
        found = estimates(Sums.of(values, weights, rng.integers(2**64, size=300, dtype=np.uint64), 200))
        holds += [low <= truth <= high for (_, low, high), truth in zip(found, (0.3, 0.5), strict=True)]
    assert (holds / 400 > 0.90).all()
    assert (holds / 400 < 0.98).all()


def test_without_replicates_there_is_no_interval_and_without_users_no_value():
    found = estimates(Sums.of(np.ones((4, 1)), np.full((4, 1), 2.0), keys(4), 0))
    assert found[0].value == 0.5
    assert np.isnan(found[0][1:]).all()
    assert np.isnan(estimates(Sums.of(np.ones((0, 1)), np.ones((0, 1)), keys(0), 5))[0]).all()
