"""Small random problems of every kind: interactions, an objective, a rank; and how to compare their rows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, get_args

import numpy as np
import oracle
from hypothesis import strategies as st
from objectives import make_confidence, make_item_weight, make_objective

from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.half_iteration import start_side
from wals_spark.objective.objective import ConfidenceFunction, ItemWeightFunction, Objective, RegScaling, UnobservedOn
from wals_spark.solvers.start import Start


class Problem(NamedTuple):
    """Interactions of a few users and items, what is minimised, and a rank."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    weights: np.ndarray | None
    objective: Objective
    rank: int

    @property
    def shape(self):
        return int(self.users.max()) + 1, int(self.items.max()) + 1

    @property
    def sides(self):
        """The objective as each side has it; ``held`` of the objective itself only says that there are biases."""
        (n_users, n_items), biased = self.shape, self.objective.held is not None
        popular = int(np.bincount(self.items[self.ratings > 0], minlength=1).max())
        common = replace(self.objective, largest_item_count=popular)
        return (
            replace(common, n_fixed=n_items, held=self.rank + 1 if biased else None),
            replace(common, n_fixed=n_users, held=self.rank if biased else None),
        )

    def dense(self):
        """C, T, the constant, and the penalties of users and of items."""
        arguments = (*self.shape, self.users, self.items, self.ratings, self.objective, self.weights)
        c, t, constant, counted = oracle.general(*arguments)
        o = self.objective
        reg = (o.reg_param, o.reg_scaling, o.unobserved_weight, o.reg_exponent)
        return c, t, constant, oracle.diagonal(counted, *reg), oracle.diagonal(counted.T, *reg)

    def started(self, user_blocks=2, item_blocks=3):
        """Both sides built, with start factors."""
        interactions = Interactions(self.users, self.items, self.ratings, weights=self.weights)
        user_side, item_side, _ = build_blocks(interactions, user_blocks=user_blocks, item_blocks=item_blocks)
        for side, objective in zip((user_side, item_side), self.sides, strict=True):
            start_side(side, objective, Start(self.rank, seed=0, scale=1.0, positive=objective.nonnegative))
        return user_side, item_side


@st.composite
def objectives(draw, nonnegative=False):
    """Any combination of the settings that makes sense."""
    popularity = draw(st.sampled_from(get_args(ItemWeightFunction)))
    if draw(st.booleans()):  # explicit feedback
        weights = {
            "confidence": make_confidence("constant", 1.0, base=0.0),
            "item_weight": make_item_weight(popularity if popularity == "propensity" else "none", 0.7, 0.2),
            "unobserved_weight": 0.0,
            "target": "rating",
            "offset": draw(st.sampled_from([0.0, 2.5])),
        }
    else:
        alpha_0, on = draw(st.sampled_from([0.01, 0.3, 1.0])), draw(st.sampled_from(get_args(UnobservedOn)))
        base = draw(st.sampled_from([alpha_0 if on == "missing" else 0.0, 1.0]))
        impression = draw(st.sampled_from([None, 0.4]))
        function, alpha = draw(st.sampled_from(get_args(ConfidenceFunction))), draw(st.sampled_from([0.5, 20.0]))
        weights = {
            "confidence": make_confidence(function, alpha, 0.7, base, impression),
            "item_weight": make_item_weight(popularity, 0.7, 0.2),
            "unobserved_weight": alpha_0,
            "unobserved_on": on,
            "target": draw(st.sampled_from(["preference", "rating"])),
        }
    return make_objective(
        **weights,
        reg_param=draw(st.sampled_from([0.1, 1.0, 50.0])),
        reg_scaling=draw(st.sampled_from(get_args(RegScaling))),
        reg_exponent=draw(st.sampled_from([0.0, 0.5, 1.0])),
        nonnegative=nonnegative and draw(st.booleans()),
        held=draw(st.sampled_from([None, 0])),
    )


@st.composite
def problems(draw, max_users=12, max_items=9, nonnegative=False):
    """Each id is there at least once; often there are more factors than items."""
    n_users, n_items = draw(st.integers(1, max_users)), draw(st.integers(1, max_items))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    observed = rng.random((n_users, n_items)) < draw(st.floats(0.05, 1.0))
    observed[np.arange(n_users), rng.integers(n_items, size=n_users)] = True
    observed[rng.integers(n_users, size=n_items), np.arange(n_items)] = True
    users, items = np.nonzero(observed)
    ratings = rng.exponential(draw(st.sampled_from([0.3, 1.0, 30.0])), size=len(users)) + 0.01
    if draw(st.booleans()):
        ratings[rng.random(len(ratings)) < 0.2] *= -1  # dislikes, or impressions that nothing came of
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], size=len(users)) if draw(st.booleans()) else None
    order = rng.permutation(len(users))
    rank = draw(st.sampled_from([1, 2, 5, 16]))
    ratings = ratings[order].astype(np.float32)
    return Problem(users[order], items[order], ratings, weights, draw(objectives(nonnegative)), rank)


def matrix(side):
    by_id = side.by_id()
    return np.stack([by_id[i] for i in sorted(by_id)])


def assert_same_rows(actual, expected, rtol=1e-4):
    """Relative to the largest coordinate: one near zero need not have four correct digits."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
