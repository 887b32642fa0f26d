"""What each item of a user's history adds to a score: the score as a sum over the history.

A user's row solves ``lhs x = rhs`` (`normal_equations.py`), and both sides are sums over the history, so that

    y_i·x = Σ_j (s_uj - w_uj y_jh) y_jᵀ W y_i + terms without the history,   W = lhs⁻¹

and the j-th term is what item j adds to the score of item i (Hu, Koren and Volinsky 2008, section 5, with W = Wᵘ, s = c
and no biases). With biases the coordinate h of x is held at 1: the sum is over the other coordinates, and y_jh and the
other terms are the share of the biases. Without biases there are no other terms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array, Float64Array, FloatArray, Int32Array
from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import WeightedBlock, weight_observations
from wals_spark.objective.objective import Objective


class Explanations(NamedTuple):
    """The items of the history that add most to each score, largest first, (n_users, k, n): positions and shares.

    Lists of histories with fewer than n items end in position -1 and share 0.
    """

    positions: Int32Array
    shares: Float32Array


def largest_contributions(
    histories: InBlock,
    items: Float32Array,
    gramian: Float64Array,
    objective: Objective,
    recommended: FloatArray,
    n: int,
    *,
    multipliers: Float64Array | None = None,
) -> Explanations:
    """The ``n`` items of each user's history that add most to the score of each recommended item.

    Parameters
    ----------
    histories
        Its positions point into ``items``.
    items : shape (n_items, width)
    gramian : shape (width, width)
        Of all items of the model.
    recommended : shape (n_users, k, width)
        The factors of the items recommended to each user.
    multipliers : shape (n_items,)
        Of the items, where popularity weights the confidence.
    """
    n_users, k, _ = recommended.shape
    largest = Explanations(np.full((n_users, k, n), -1, dtype=np.int32), np.zeros((n_users, k, n), dtype=np.float32))
    block = weight_observations(histories, objective, None if multipliers is None else multipliers[histories.positions])
    for user in range(n_users):
        positions = histories.positions[histories.indptr[user] : histories.indptr[user + 1]]  # (n_j,)
        shares = _contributions(block, user, items[positions], gramian, objective, recommended[user])
        order = np.argsort(-shares, axis=1, kind="stable")[:, :n]
        largest.positions[user, :, : order.shape[1]] = positions[order]
        largest.shares[user, :, : order.shape[1]] = np.take_along_axis(shares, order, axis=1)
    return largest


def _contributions(
    block: WeightedBlock,
    user: int,
    history: Float32Array,
    gramian: Float64Array,
    objective: Objective,
    recommended: FloatArray,
) -> Float64Array:
    """What each item of a user's history, with factors (n_j, width), adds to each score; shape (k, n_j)."""
    free = objective.free(history.shape[1])
    fixed = history.astype(np.float64)
    indices = block.indices[block.indptr[user] : block.indptr[user + 1]]
    w, t = block.excess_weight[indices].astype(np.float64), block.target[indices].astype(np.float64)
    s = (w + objective.unobserved_weight_in_confidence) * t
    if objective.held is not None:
        s -= w * fixed[:, objective.held]
    lhs = (objective.unobserved_weight * gramian + (fixed.T * w) @ fixed)[np.ix_(free, free)]
    lhs += block.regularization[user] * np.eye(len(free))
    solved = np.linalg.solve(lhs, recommended[:, free].astype(np.float64).T)  # (n_free, k)
    contributions: Float64Array = ((fixed[:, free] @ solved) * s[:, None]).T
    return contributions
