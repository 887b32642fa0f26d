from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objectives import make_objective
from problems import assert_same_rows, matrix, problems

from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import weight_observations
from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.half_iteration import half_iteration, split_blocks, start_side
from wals_spark.solvers.half_iteration import Solver, solve_rows
from wals_spark.solvers.heavy_rows import HeavyRows, add_partial_sums, row_limit, split_heavy_rows
from wals_spark.solvers.normal_equations import HeavyRowSums
from wals_spark.solvers.start import Start
from wals_spark.solvers.systems import LeastSquares

LIMITS = st.integers(0, 4)  # observations: of a few rows, of most, or of all


@given(problems(), LIMITS)
@settings(max_examples=150)
def test_heavy_rows_equal_the_dense_solve_on_either_side(problem, limit):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    c, t, _, user_penalties, item_penalties = problem.dense()
    fixed = matrix(item_side)
    half_iteration(user_side, item_side, of_users, row_limit=limit)
    assert_same_rows(matrix(user_side), oracle.solve(c, t, user_penalties, fixed, of_users.held))
    fixed = matrix(user_side)
    half_iteration(item_side, user_side, of_items, row_limit=limit)
    assert_same_rows(matrix(item_side), oracle.solve(c.T, t.T, item_penalties, fixed, of_items.held))


@pytest.mark.parametrize("method", ["cg", "exact", "cholesky"])
@given(problems(nonnegative=True), LIMITS, st.sampled_from([1.0, 1.6]))
def test_heavy_rows_are_solved_as_light_ones_with_exact_loss(method, problem, limit, relaxation):
    """Rows are compared by the loss they leave: one that is nearly free to move costs nothing where it moves."""
    of_users, _ = problem.sides
    solver = Solver(method, 3, relaxation=1.0 if of_users.nonnegative else relaxation)
    c, t, constant, *penalties = problem.dense()
    reported, exact = [], []
    for row_limit_ in (None, limit):
        user_side, item_side = problem.started()
        held = of_users.held, problem.sides[1].held
        size = constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), penalties, held)
        reported.append(half_iteration(user_side, item_side, of_users, solver, row_limit=row_limit_).total)
        exact.append(constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), penalties, held))
    size += float((c * t**2).sum())
    assert exact[1] == pytest.approx(exact[0], rel=2e-3, abs=1e-4 * size)
    assert reported[1] == pytest.approx(exact[1], rel=1e-4, abs=1e-5 * size)


def test_steps_of_a_heavy_row_are_those_of_a_light_one():
    """Entry by entry, where three steps are still far from the solution."""
    rng = np.random.default_rng(5)
    users, items = np.nonzero(rng.random((300, 40)) < 0.4)
    objective, rows = make_objective(reg_param=0.1), []
    for limit in (None, 100):
        user_side, item_side, _ = build_blocks(Interactions(users, items, np.ones(len(users))), user_blocks=3)
        for side in (user_side, item_side):
            start_side(side, objective, Start(20, seed=0, scale=1.0, positive=False))
        half_iteration(item_side, user_side, objective, Solver("cg", 3, relaxation=1.5), row_limit=limit)
        rows.append(matrix(item_side))
        half_iteration(item_side, user_side, objective)
    assert_same_rows(rows[1], rows[0], rtol=1e-5)
    assert np.abs(rows[0] - matrix(item_side)).max() > 0.01 * np.abs(rows[0]).max()


def test_no_user_is_sent_for_an_item_that_every_user_has():
    """Of 90 users in three blocks each has item 0, and one in three one more item."""
    users = np.concatenate([np.arange(90), np.arange(0, 90, 3)])
    items = np.concatenate([np.zeros(90, dtype=int), 1 + np.arange(30) % 5])
    user_side, item_side, _ = build_blocks(Interactions(users, items, np.ones(120)), user_blocks=3)
    blocks = [weight_observations(block, make_objective()) for block in item_side.in_blocks]
    split, out_blocks, parts = split_blocks(user_side.out_blocks, blocks, row_limit=20)
    assert split[0].heavy.rows.tolist() == [0]
    assert split[0].light.counts.tolist() == [0, 6, 6, 6, 6, 6]
    assert [len(part[0].positions) for part in parts] == [len(ids) for ids in user_side.ids]
    assert sum(len(out_block[0]) for out_block in user_side.out_blocks) == 90
    assert sum(len(out_block.get(0, ())) for out_block in out_blocks) == 30


def test_a_part_takes_no_more_ratings_than_observations():
    users, items = np.concatenate([np.arange(60), np.arange(60)]), np.repeat([0, 1], 60)
    ratings = 1.0 + np.random.default_rng(1).random(120)
    _, item_side, _ = build_blocks(Interactions(users, items, ratings), user_blocks=3)
    (block,) = (weight_observations(block, make_objective()) for block in item_side.in_blocks)
    assert len(block.excess_weight) == 120
    for part in split_heavy_rows(block, 50).parts.values():
        assert len(part.excess_weight) == len(part.target) == len(part.positions) < 60


def test_a_block_without_a_heavy_row_is_unchanged():
    users, items = np.nonzero(np.random.default_rng(0).random((20, 10)) < 0.3)
    user_side, item_side, _ = build_blocks(
        Interactions(users, items, np.ones(len(users))), user_blocks=2, item_blocks=2
    )
    blocks = [weight_observations(block, make_objective()) for block in item_side.in_blocks]
    split, out_blocks, parts = split_blocks(user_side.out_blocks, blocks, row_limit=100)
    assert parts == [{}, {}]
    for block, after in zip(blocks, split, strict=True):
        np.testing.assert_array_equal(after.light.positions, block.positions)
        np.testing.assert_array_equal(after.light.offsets, block.offsets)
        assert not len(after.heavy.rows)
    for now, before in zip(out_blocks, user_side.out_blocks, strict=True):
        assert {d: rows.tolist() for d, rows in now.items()} == {d: rows.tolist() for d, rows in before.items()}


@pytest.mark.parametrize("method", ["cg", "exact", "cholesky"])
def test_a_heavy_row_without_a_solution_is_named(method):
    rows = InBlock.of(np.array([0, 0, 1, 1]), np.array([0]), np.ones(1), np.array([0, 1]))
    objective = make_objective(unobserved_weight=0.0, reg_param=1.0)
    heavy_sums = HeavyRowSums(np.array([0, 2]), np.stack([np.eye(3), -5 * np.eye(3)]), np.ones((2, 3)), np.ones(2))
    received = np.ones((1, 3), dtype=np.float32)
    problem = LeastSquares(weight_observations(rows, objective), received, np.zeros((3, 3)), objective)
    summary = solve_rows(problem, Solver(method, 3), heavy_sums=heavy_sums).summary
    assert (summary.failed_row, summary.failure) == (2, "its normal equations are singular")


def test_missing_partial_normal_equations_are_noticed():
    heavy = HeavyRows(np.array([0]), np.array([0, 2]), np.array([5]))
    with pytest.raises(FileNotFoundError, match="block 0 sent no partial normal equations"):
        add_partial_sums(heavy, {}, 4)


def test_half_of_a_mean_block_may_be_one_row():
    assert row_limit(0, 9_600_000, 2) == 2_400_000
    assert row_limit(0, 9_600_000, 200) == 100_000  # less is not worth a stage
    assert row_limit(7, 9_600_000, 2) == 7
