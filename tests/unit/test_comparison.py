from __future__ import annotations

import numpy as np
import pytest

from wals_spark.evaluation.comparison import difference, verdict
from wals_spark.evaluation.results import Evaluation


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
