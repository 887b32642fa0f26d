from __future__ import annotations

import numpy as np
from hypothesis import given
from problems import problems

from wals_spark.blocks.in_out import InBlock
from wals_spark.ranking.explanations import largest_contributions
from wals_spark.serving.fold_in import solve_histories


def explained(problem, n):
    """Random items, the users' rows solved against them, and the explanations of every score."""
    objective, _ = problem.sides
    n_users, n_items = problem.shape
    order = np.lexsort((problem.items, problem.users))
    histories = InBlock.of(
        indptr=np.searchsorted(problem.users[order], np.arange(n_users + 1)).astype(np.int64),
        positions=problem.items[order].astype(np.int32),
        ratings=problem.ratings[order],
        offsets=np.array([0, n_items]),
        weights=np.empty(0, np.float32) if problem.weights is None else problem.weights[order].astype(np.float32),
    )
    held = objective.held
    items = np.random.default_rng(0).normal(size=(n_items, problem.rank + 2 * (held is not None))).astype(np.float32)
    gramian = items.astype(np.float64).T @ items
    counts = np.bincount(problem.items[problem.ratings > 0], minlength=n_items)
    multipliers = objective.item_weight.of(counts, objective.largest_item_count)
    rows = solve_histories(histories, items, gramian, objective, multipliers)
    every = np.broadcast_to(items, (n_users, *items.shape))
    return items, rows, largest_contributions(histories, items, gramian, objective, every, n, multipliers=multipliers)


@given(problems())
def test_shares_are_the_terms_of_the_dense_normal_equations(problem):
    n_users, n_items = problem.shape
    items, rows, explanations = explained(problem, n_items)
    objective, _ = problem.sides
    c, t, _, penalties, _ = problem.dense()
    y, free = items.astype(np.float64), objective.free(items.shape[1])
    for user in range(n_users):
        lhs = (y.T * c[user]) @ y + penalties[user] * np.eye(items.shape[1])
        w = np.linalg.inv(lhs[np.ix_(free, free)])
        s = c[user] * t[user]
        if objective.held is not None:
            s = s - (c[user] - objective.unobserved_weight) * y[:, objective.held]
        expected = y[:, free] @ w @ (y[:, free] * s[:, None]).T  # (recommended, history)
        history = np.unique(problem.items[problem.users == user])
        dense = np.zeros((n_items, n_items))
        taken = explanations.positions[user] >= 0
        assert (taken.sum(axis=1) == len(history)).all()
        dense[np.nonzero(taken)[0], explanations.positions[user][taken]] = explanations.shares[user][taken]
        np.testing.assert_allclose(
            dense[:, history], expected[:, history], rtol=1e-3, atol=1e-3 * np.abs(expected).max()
        )
        if objective.held is None:  # nothing is left over
            score = y @ rows[user]
            np.testing.assert_allclose(dense.sum(axis=1), score, rtol=1e-3, atol=1e-3 * np.abs(dense).max())


@given(problems())
def test_the_largest_contributions_come_first(problem):
    n_items = problem.shape[1]
    *_, every = explained(problem, n_items)
    *_, few = explained(problem, 2)
    assert few.positions.shape[2] == 2
    m = min(2, n_items)
    np.testing.assert_array_equal(few.positions[:, :, :m], every.positions[:, :, :m])
    assert (few.positions[:, :, m:] == -1).all()
    missing = every.positions < 0
    shares = np.where(missing, -np.inf, every.shares)
    assert (shares[:, :, 1:] <= shares[:, :, :-1]).all()
    assert (every.shares[missing] == 0).all()
