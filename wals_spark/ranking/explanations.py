"""What each item of a user's history adds to a score: the score as a sum over the history.

A user's row solves ``lhs x = rhs`` (`half_iteration`), and both sides of it are sums over the history, so that

    y_i·x = Σ_j (s_uj - w_uj y_jh) y_jᵀ W y_i + what no history is needed for,   W = lhs⁻¹

and the j-th term is what item j adds to the score of item i (Hu, Koren and Volinsky 2008, section 5, with W = Wᵘ, s = c
and no biases). With biases the coordinate h of x is held at 1: the sum is of the other coordinates, and y_jh and what
is left over are the biases' share. Without them nothing is left over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array, Float64Array, FloatArray, Int32Array
from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import weight_observations
from wals_spark.objective.objective import Objective


class Explanations(NamedTuple):
    """The items of the history that add most to each score, most first, (n_users, k, n): positions, and what they add.

    Where there are fewer, position -1 and 0.
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
    """The ``n`` items of each user's history that add most to the score of each item recommended.

    Parameters
    ----------
    histories
        Its positions point into ``items``.
    items : shape (n_items, width)
    gramian : shape (width, width)
        Of all items of the model.
    recommended : shape (n_users, k, width)
        The rows of what is recommended to each user.
    multipliers : shape (n_items,)
        Of the items, where popularity weighs.
    """
    n_users, k, width = recommended.shape
    found = Explanations(np.full((n_users, k, n), -1, dtype=np.int32), np.zeros((n_users, k, n), dtype=np.float32))
    block = weight_observations(histories, objective, None if multipliers is None else multipliers[histories.positions])
    free = objective.free(width)
    for user in range(n_users):
        entries = slice(histories.indptr[user], histories.indptr[user + 1])
        positions, indices = histories.positions[entries], block.indices[entries]
        fixed = items[positions].astype(np.float64)  # (n_j, width)
        w, t = block.excess_weight[indices].astype(np.float64), block.target[indices].astype(np.float64)
        s = (w + objective.unobserved_weight_in_confidence) * t
        if objective.held is not None:
            s -= w * fixed[:, objective.held]
        lhs = (objective.unobserved_weight * gramian + (fixed.T * w) @ fixed)[np.ix_(free, free)]
        lhs += block.regularization[user] * np.eye(len(free))
        solved = np.linalg.solve(lhs, recommended[user][:, free].astype(np.float64).T)  # (n_free, k)
        shares = ((fixed[:, free] @ solved) * s[:, None]).T  # (k, n_j)
        most = np.argsort(-shares, axis=1, kind="stable")[:, :n]
        found.positions[user, :, : most.shape[1]] = positions[most]
        found.shares[user, :, : most.shape[1]] = np.take_along_axis(shares, most, axis=1)
    return found
