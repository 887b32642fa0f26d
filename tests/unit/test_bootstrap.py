from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.bootstrap import MetricSums, estimate_metrics, poisson_counts


def keys(n, seed=0):
    return np.random.default_rng(seed).integers(2**64, size=n, dtype=np.uint64)


def test_counts_are_independent_and_poisson_with_mean_one():
    counts = poisson_counts(keys(2000), 100).astype(float)
    assert counts.mean() == pytest.approx(1.0, abs=0.01)
    assert counts.var() == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(counts.T) - np.eye(100)).max() < 0.12  # replicates are independent: 5 / sqrt(2000)
    assert abs(np.corrcoef(counts[:100]) - np.eye(100)).max() < 0.5  # and so are users: 5 / sqrt(100)


@given(cuts=st.lists(st.integers(0, 30), max_size=5), seed=st.integers(0, 99))
def test_sums_do_not_depend_on_the_partitioning_of_users(cuts, seed):
    rng = np.random.default_rng(seed)
    numerators, denominators = rng.random((2, 30, 3))
    whole = MetricSums.of(numerators, denominators, keys(30), 8)
    partitions = np.split(rng.permutation(30), sorted(cuts))
    merged = MetricSums.merged(
        MetricSums.of(numerators[users], denominators[users], keys(30)[users], 8) for users in partitions
    )
    np.testing.assert_allclose(merged.numerators, whole.numerators, rtol=1e-12)
    np.testing.assert_allclose(merged.denominators, whole.denominators, rtol=1e-12)


def test_a_replicate_is_the_mean_of_users_repeated_by_count():
    values = np.random.default_rng(1).random((5000, 1))  # more than one batch
    sums = MetricSums.of(values, np.ones_like(values), keys(5000), 3)
    for replicate, counts in enumerate(poisson_counts(keys(5000), 3).T):
        sample = np.repeat(values[:, 0], counts)
        assert sums.numerators[1 + replicate] / sums.denominators[1 + replicate] == pytest.approx(sample.mean())
    assert sums.numerators[0] / sums.denominators[0] == pytest.approx(values.mean())


def test_intervals_cover_the_true_value_at_their_level():
    """Hit rates of 300 users at a true 0.3, and a ratio whose denominators differ, at a true 0.5; 400 times each."""
    rng, covered = np.random.default_rng(2), np.zeros(2)
    for _ in range(400):
        ratings = rng.exponential(size=300)
        numerators = np.column_stack([rng.random(300) < 0.3, ratings * rng.random(300)])
        denominators = np.column_stack([np.ones(300), ratings])
        random_keys = rng.integers(2**64, size=300, dtype=np.uint64)
        estimates = estimate_metrics(MetricSums.of(numerators, denominators, random_keys, 200))
        covered += [low <= true <= high for (_, low, high), true in zip(estimates, (0.3, 0.5), strict=True)]
    assert (covered / 400 > 0.90).all()
    assert (covered / 400 < 0.98).all()


def test_no_replicates_no_interval_and_no_users_no_value():
    (estimate,) = estimate_metrics(MetricSums.of(np.ones((4, 1)), np.full((4, 1), 2.0), keys(4), 0))
    assert estimate.value == 0.5
    assert np.isnan(estimate[1:]).all()
    no_users = MetricSums.of(np.ones((0, 1)), np.ones((0, 1)), keys(0), 5)
    assert np.isnan(estimate_metrics(no_users)[0]).all()
