from __future__ import annotations

import numpy as np
import pytest

from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.comparison import difference, verdict
from wals_spark.evaluation.results import Evaluation

USERS, PAIRS_OF_MODELS = 2000, 200


def replicates(scores, keys):
    """The mean of users' scores, and its replicates."""
    return MetricSums.of(scores[:, None], np.ones((len(scores), 1)), keys, 200).ratios[:, 0]


def compared(seed, improvement):
    """Two models' scores of the same users: many without a hit, alike for a user; ``improvement`` is relative."""
    rng = np.random.default_rng(seed)
    of_user = rng.beta(0.8, 3, USERS) * (rng.random(USERS) < 0.8)
    scores = [of_user * rng.uniform(0.7, 1.3, USERS) for _ in range(2)]
    swapped = rng.random(USERS) < 0.5  # shuffled between the models: no difference is left
    one, other = np.where(swapped, scores, scores[::-1])
    keys = rng.integers(2**64, size=USERS, dtype=np.uint64)
    return difference(replicates(one * (1 + improvement), keys), replicates(other, keys))


def share_called_different(improvement):
    found = [compared(seed, improvement) for seed in range(1000, 1000 + PAIRS_OF_MODELS)]
    return np.mean([not estimate.low <= 0 <= estimate.high for estimate in found])


@pytest.mark.slow
def test_one_in_twenty_equal_models_is_called_different():
    assert share_called_different(0.0) == pytest.approx(0.05, abs=0.03)


@pytest.mark.slow
def test_a_difference_of_three_percent_is_found():
    assert share_called_different(0.03) >= 0.8


def test_a_model_differs_from_itself_by_nothing():
    values = np.random.default_rng(0).random(201)
    assert difference(values, values) == (0.0, 0.0, 0.0)
    shifted = difference(values + 0.5, values)
    assert shifted == pytest.approx((0.5, 0.5, 0.5))


def test_without_replicates_or_value_there_is_no_interval():
    assert np.isnan(difference(np.array([0.5]), np.array([0.25]))[1:]).all()
    undefined = difference(np.array([np.nan, 0.1, 0.2]), np.array([0.3, 0.2, 0.1]))
    assert np.isnan(undefined).all()


@pytest.mark.parametrize(
    ("low", "high", "better", "expected"),
    [
        (0.1, 0.2, "higher", "better"),
        (0.1, 0.2, "lower", "worse"),
        (-0.2, -0.1, "lower", "better"),
        (-0.2, -0.1, "higher", "worse"),
        (-0.1, 0.1, "higher", ""),
        (None, None, "higher", ""),
    ],
)
def test_the_verdict_needs_an_interval_without_zero(low, high, better, expected):
    assert verdict({"difference_low": low, "difference_high": high, "better": better}) == expected


def test_a_comparison_prints_both_values_and_the_difference():
    def evaluation(shift):
        ndcg = {"name": "ndcg", "k": 20, "better": "higher", "model": 0.25 + shift, "low": 0.24, "high": 0.26}
        coverage = {"name": "coverage", "k": 20, "better": "higher", "model": 0.5, "low": None, "high": None}
        values = np.array([0.25, 0.24, 0.26]) + np.array([1.0, 0.9, 1.1]) * shift
        return Evaluation([ndcg, coverage], {"users": 1000}, {"ndcg@20": values})

    compared_with = evaluation(0.02).compared_with(evaluation(0.0))
    assert str(compared_with).splitlines() == [
        "              model     95 % interval  against  difference       95 % interval",
        "--------------------------------------------------------------------------------------",
        "ndcg@20      0.2700  0.2400 to 0.2600   0.2500     +0.0200  +0.0145 to +0.0255  better",
        "coverage@20  0.5000                     0.5000     +0.0000",
    ]
    assert compared_with.value("ndcg@20") == 0.27
