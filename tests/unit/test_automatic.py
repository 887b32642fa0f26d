"""Automatic values of settings: what they are by, and the laws that they keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from objectives import counts_of_data, objectives_of, resolved_of

from wals_spark.arrays.distribution import Distribution
from wals_spark.errors import ConfigError
from wals_spark.local.blocks import Interactions
from wals_spark.local.training import fit
from wals_spark.objective.automatic import DataCounts
from wals_spark.settings.resolved import automatic_settings, resolved
from wals_spark.settings.train import Config, load_config

BINARY = {"users": 200, "items": 50, "observations": 1000, "mean_rating": 1.0}
NAMES = [
    "confidence.alpha",
    "confidence.epsilon",
    "train.unobserved_weight",
    "train.rank",
    "train.max_iter",
    "train.reg_param",
]


def mean_penalties(settings, counts=BINARY):
    """Λ of the row with the mean number of observations, of users and of items."""
    objectives = objectives_of(Config.of(settings), **counts)
    means = {"users": counts["observations"] / counts["users"], "items": counts["observations"] / counts["items"]}
    return [float(objectives[side].regularization(np.array([mean]))[0]) for side, mean in means.items()]


def test_binary_data_have_rendles_weights_by_density():
    train = resolved_of(Config.of({"confidence.function": "constant", "confidence.alpha": 1}), **BINARY).train
    assert train.unobserved_weight == pytest.approx(10 * 1000 / (200 * 50))
    noise = (5**-0.5 + 20**-0.5) / (1 + 10)  # of 5 observations per user and 20 per item
    assert train.lambda_of("users") == train.lambda_of("items") == pytest.approx(0.175 * noise**0.75)
    assert (train.rank, train.max_iter) == (50, 10)


@given(st.floats(0.01, 100), st.sampled_from(["constant", "linear", "log", "sqrt"]), st.floats(0.1, 1000))
def test_weights_on_another_scale_have_the_same_model(scale, function, rating):
    """α₀ and Λ grow as the weights do, so that the loss is the same, times the scale."""
    counts = {**BINARY, "mean_rating": rating}
    one, other = (
        {"confidence.function": function, "confidence.alpha": alpha, "confidence.epsilon": 2.0}
        for alpha in (1.0, scale)
    )
    small, large = (resolved_of(Config.of(settings), **counts).train for settings in (one, other))
    assert large.unobserved_weight == pytest.approx(scale * small.unobserved_weight)
    assert mean_penalties(other, counts) == pytest.approx([scale * value for value in mean_penalties(one, counts)])


@given(st.floats(0, 2), st.floats(0, 10), st.booleans())
def test_the_mean_row_has_one_penalty_under_every_scaling(exponent, alpha_0, implicit):
    of_implicit = {"train.unobserved_weight": alpha_0} if implicit else {"train.implicit": False}
    plain, *others = (
        mean_penalties({"train.reg_scaling": scaling, "train.reg_exponent": exponent, **of_implicit})
        for scaling in ("plain", "count", "frequency")
    )
    for penalties in others:
        assert penalties == pytest.approx(plain)


@given(st.floats(0.01, 100), st.sampled_from(["constant", "linear", "log", "sqrt"]), st.floats(0.1, 10))
def test_ratings_in_another_unit_have_the_same_implicit_model(scale, function, weight):
    """Hours or minutes: the median rating has the weight 1, and what is a weight of its own is in the other weights."""
    config = Config.of({"confidence.function": function})
    ratings = np.array([1.0, 2.0, 4.0, 5.0, 300.0])
    weights, trains = [], []
    for factor in (1.0, scale):
        found = Distribution.of(factor * ratings, np.full(5, 10))
        counts = DataCounts(users=20, items=10, observations=50, ratings=found, mean_weight=weight)
        weights.append(resolved(config, counts).objectives(counts)["users"].confidence.of(factor * ratings))
        trains.append(resolved(config, counts).train)
    assert weights[0][2] == pytest.approx(1.0, rel=0.02)
    assert weights[1] == pytest.approx(weights[0], rel=0.02)
    for train in trains:
        assert train.unobserved_weight == pytest.approx(10 * weight * weights[0].mean() * 50 / 200, rel=0.02)


@given(st.floats(0.01, 100))
def test_ratings_on_another_scale_have_the_same_explicit_model(scale):
    ratings = np.array([1.0, 2.0, 4.0, 5.0])
    one, other = (
        resolved(
            Config.of({"train.implicit": False}),
            DataCounts(users=20, items=10, observations=40, ratings=Distribution.of(factor * ratings, np.full(4, 10))),
        ).train
        for factor in (1.0, scale)
    )
    assert one.reg_param == pytest.approx(0.1 * ratings.std())
    assert other.reg_param == pytest.approx(scale * one.reg_param)


def test_explicit_feedback_has_biases_unless_nonnegative():
    for nonnegative in (False, True):
        config = Config.of({"train.implicit": False, "train.nonnegative": nonnegative})
        train = resolved_of(config, **BINARY).train
        assert (train.biases, train.global_mean) == (not nonnegative, not nonnegative)
        assert {"train.biases", "train.global_mean"} <= set(automatic_settings(config))
    implicit = resolved_of(Config.of(), **BINARY).train
    assert (implicit.biases, implicit.global_mean) == (False, False)


def test_the_more_observations_a_row_has_the_smaller_is_lambda():
    few, many = (resolved_of(Config.of(), **{**BINARY, "observations": n}).train.reg_param for n in (500, 5000))
    assert 0 < many < few < 0.05


def test_what_is_given_stays_and_presets_leave_nothing_automatic():
    given_values = {"train.rank": 7, "train.unobserved_weight": 0.5, "train.item_reg_param": 3.0}
    config = Config.of(given_values)
    train = resolved_of(config, **BINARY).train
    assert (train.rank, train.unobserved_weight, train.item_reg_param) == (7, 0.5, 3.0)
    assert automatic_settings(config) == ["confidence.alpha", "confidence.epsilon", "train.max_iter", "train.reg_param"]
    assert automatic_settings(Config.of()) == NAMES
    for preset in ("hkv", "mllib", "mllib-explicit", "implicit", "rendle", "google-wals", "qmf", "lenskit"):
        config = Config.of({"train.preset": preset})
        assert automatic_settings(config) == []


def test_training_with_auto_is_training_with_its_values():
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 15)) < 0.5)
    interactions = Interactions(users, items, rng.integers(1, 9, len(users)).astype(float))
    counts = counts_of_data(users=40, items=15, observations=len(users))
    ratings = Distribution.of(np.asarray(interactions.ratings), np.ones(len(users), dtype=np.int64))
    chosen = resolved(Config.of(), DataCounts(40, 15, counts.observations, ratings))
    values = {name: chosen.value_of(name) for name in [*NAMES, "train.item_reg_param"]}
    automatic, by_values = (fit(interactions, Config.of(settings)) for settings in ({}, values))
    for one, other in ((automatic.users, by_values.users), (automatic.items, by_values.items)):
        np.testing.assert_array_equal(np.stack(list(one.values())), np.stack(list(other.values())))


@pytest.mark.parametrize("value", ["automatic", "AUTO", "-1", "[]", "true"])
def test_what_is_no_number_and_not_auto_is_refused(value):
    with pytest.raises(ConfigError, match=r"train.reg_param: (a number, or auto, is needed|expected `float` >= 0.0)"):
        load_config(None, ["input.path=a", "output.path=b", f"train.reg_param={value}"])


def test_no_weight_and_no_rating_still_make_an_objective():
    empty = DataCounts(users=0, items=0)
    for settings in ({}, {"train.implicit": False}, {"confidence.alpha": 0}, {"train.unobserved_weight": 0}):
        chosen = resolved(Config.of(settings), empty)
        assert chosen.train.reg_param >= 0
        assert chosen.objectives(empty)["users"].n_fixed == 0


@given(
    ratings=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20), zeros=st.integers(0, 9), weight=st.floats(0.1, 9)
)
def test_counts_without_negatives_are_those_of_before(ratings, zeros, weight):
    values, ones = np.array(ratings), np.ones(len(ratings), dtype=np.int64)
    before = counts_of(values, ones, weight)
    mean = (weight * len(ratings) + zeros) / (len(ratings) + zeros)
    with_zeros = counts_of(np.append(values, 0.0), np.append(ones, zeros), mean).without_zeros(zeros)
    assert (with_zeros.observations, with_zeros.ratings.mean) == (before.observations, before.ratings.mean)
    assert with_zeros.ratings.deviation == before.ratings.deviation
    assert with_zeros.mean_weight == pytest.approx(before.mean_weight)
    assert with_zeros.median_rating == pytest.approx(before.median_rating, rel=0.02)


def counts_of(values, times, mean_weight):
    return DataCounts(9, 9, int(times.sum()), Distribution.of(values, times), 1, mean_weight)
