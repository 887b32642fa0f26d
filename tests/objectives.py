"""Objectives for tests: a test names the parts that it is about, and the values here stand for the others."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.distribution import Distribution
from wals_spark.objective.automatic import DataCounts
from wals_spark.objective.objective import Confidence, Decay, ItemWeight, Objective
from wals_spark.settings.resolved import resolved
from wals_spark.settings.training import ResolvedTrain


def make_confidence(function="linear", alpha=1.0, epsilon=1.0, base=1.0, impression=None):
    return Confidence(function, alpha, epsilon, base, impression)


def make_item_weight(function="none", exponent=0.5, floor=0.01):
    return ItemWeight(function, exponent, floor)


def make_decay(half_life_days, floor=0.0, reference=None):
    return Decay(half_life_days, floor, reference)


def make_objective(confidence=None, **parts):
    """An objective with Hu, Koren and Volinsky's weights and a plain λ of 0.1, but for the parts that are named."""
    usual = {
        "confidence": confidence or make_confidence(),
        "item_weight": make_item_weight(),
        "unobserved_weight": 1.0,
        "unobserved_on": "missing",
        "target": "preference",
        "offset": 0.0,
        "reg_param": 0.1,
        "reg_scaling": "plain",
        "reg_exponent": 1.0,
        "nonnegative": False,
        "held": None,
        "n_fixed": 0,
        "largest_item_count": 1,
    }
    return Objective(**{**usual, **parts})


def counts_of_data(users=1, items=1, observations=1, mean_rating=1.0, largest_item_count=1):
    """What automatic settings and objectives know of data whose ratings are all the same."""
    ratings = Distribution.of(np.array([mean_rating]), np.array([observations]))
    return DataCounts(users, items, observations, ratings, largest_item_count)


def resolved_of(config, **counts):
    """A configuration for data with these counts (`counts_of_data`)."""
    return resolved(config, counts_of_data(**counts))


def objectives_of(config, **counts):
    """The objectives of a configuration, by side, for data with these counts (`counts_of_data`)."""
    return resolved_of(config, **counts).objectives(counts_of_data(**counts))


def train_settings(**values):
    """Settings of a training, with numbers where the defaults are automatic."""
    usual = {
        "biases": False,
        "global_mean": False,
        "rank": 6,
        "max_iter": 3,
        "unobserved_weight": 1.0,
        "reg_param": 1.0,
    }
    return ResolvedTrain(**{**usual, **values})
