"""Objectives for tests: a test names the parts that it is about, and the values here stand for the others."""

from __future__ import annotations

from wals_spark.objective.objective import Confidence, Decay, ItemWeight, Objective


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
