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
import numpy.typing as npt

from wals_spark.blocks import InBlock
from wals_spark.objective import Objective
from wals_spark.weighing import weigh

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int32]


class Reasons(NamedTuple):
    """The items of the history that add most to each score, most first, (n_users, k, n): positions, and what they add.

    Where there are fewer, position -1 and 0.
    """

    positions: Positions
    shares: Floats


def largest_shares(
    histories: InBlock,
    items: Floats,
    gramian: Doubles,
    objective: Objective,
    recommended: npt.NDArray[np.floating],
    n: int,
    *,
    multipliers: Doubles | None = None,
) -> Reasons:
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
    found = Reasons(np.full((n_users, k, n), -1, dtype=np.int32), np.zeros((n_users, k, n), dtype=np.float32))
    block = weigh(histories, objective, None if multipliers is None else multipliers[histories.positions])
    free = objective.free(width)
    for user in range(n_users):
        entries = slice(histories.indptr[user], histories.indptr[user + 1])
        positions, codes = histories.positions[entries], block.codes[entries]
        fixed = items[positions].astype(np.float64)  # (n_j, width)
        w, t = block.curvature[codes].astype(np.float64), block.target[codes].astype(np.float64)
        s = (w + objective.carried) * t
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
