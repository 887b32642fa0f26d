from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objectives import make_confidence, make_item_weight, make_objective
from problems import assert_same_rows, matrix, problems
from scipy.optimize import nnls

from wals_spark.blocks.encoding import RecordArrays
from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import WeightedBlock, weight_observations
from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.half_iteration import half_iteration, start_side
from wals_spark.solvers.half_iteration import Solver, solve_rows
from wals_spark.solvers.start import Start
from wals_spark.solvers.systems import LeastSquares


@given(problems())
def test_a_half_iteration_equals_the_dense_solve_on_either_side(problem):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    c, t, _, user_penalties, item_penalties = problem.dense()
    fixed = matrix(item_side)
    half_iteration(user_side, item_side, of_users)
    assert_same_rows(matrix(user_side), oracle.solve(c, t, user_penalties, fixed, of_users.held))
    fixed = matrix(user_side)
    half_iteration(item_side, user_side, of_items)
    assert_same_rows(matrix(item_side), oracle.solve(c.T, t.T, item_penalties, fixed, of_items.held))


@given(problems(nonnegative=True))
def test_the_reported_loss_equals_the_dense_double_loop(problem):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    c, t, constant, *penalties = problem.dense()
    for solved, fixed, objective in ((user_side, item_side, of_users), (item_side, user_side, of_items)):
        loss = half_iteration(solved, fixed, objective)
        held = of_users.held, of_items.held
        expected = constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), penalties, held)
        # Σ c t² is what the loss starts from; a loss far below it is a difference of large numbers.
        assert loss.total == pytest.approx(expected, rel=1e-6, abs=1e-9 * float((c * t**2).sum()))


@pytest.mark.parametrize("method", ["cholesky", "exact"])
@given(problems(), st.floats(1.0, 1.99))
def test_relaxed_rows_go_beyond_and_never_raise_the_loss(method, problem, relaxation):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    c, t, constant, *penalties = problem.dense()
    held = of_users.held, of_items.held
    current = matrix(user_side)
    before = constant + oracle.loss(c, t, current, matrix(item_side), penalties, held)
    loss = half_iteration(user_side, item_side, of_users, Solver(method, relaxation=relaxation))
    solved = oracle.solve(c, t, penalties[0], matrix(item_side), of_users.held)
    expected = constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), penalties, held)
    size = before + float((c * t**2).sum())
    if method == "cholesky":
        assert_same_rows(matrix(user_side), current + relaxation * (solved - current))
        assert loss.total == pytest.approx(expected, rel=1e-6, abs=1e-9 * size)
        assert expected <= before + 1e-9 * size
    else:
        assert loss.total == pytest.approx(expected, rel=1e-5, abs=1e-6 * size)
        assert expected <= before + 1e-6 * size


@given(problems())
def test_the_parts_of_the_loss_are_what_they_are_called(problem):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    *_, user_penalties, item_penalties = problem.dense()
    loss = half_iteration(user_side, item_side, of_users)
    x, y = matrix(user_side).astype(np.float64), matrix(item_side).astype(np.float64)
    expected = of_users.unobserved_weight * ((x @ y.T) ** 2).sum()
    assert loss.unobserved == pytest.approx(expected, rel=1e-6, abs=1e-12)
    penalty = oracle.penalty(x, user_penalties, of_users.held) + oracle.penalty(y, item_penalties, of_items.held)
    assert loss.penalty == pytest.approx(penalty, rel=1e-6, abs=1e-12)


@given(problems(nonnegative=True))
@settings(max_examples=200)
def test_an_exact_half_iteration_never_raises_the_loss(problem):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    before = None
    for _ in range(6):
        for solved, fixed, objective in ((item_side, user_side, of_items), (user_side, item_side, of_users)):
            loss = half_iteration(solved, fixed, objective)
            size = abs(loss.observed) + loss.unobserved + loss.penalty
            assert before is None or loss.total <= before + 1e-9 * size
            before = loss.total


@given(problems(), st.integers(1, 15), st.integers(1, 15))
def test_factors_do_not_depend_on_blocks(problem, m, n):
    of_users, of_items = problem.sides
    results = []
    for user_blocks, item_blocks in ((1, 1), (m, n)):
        user_side, item_side = problem.started(user_blocks, item_blocks)
        half_iteration(user_side, item_side, of_users)
        half_iteration(item_side, user_side, of_items)
        results.append((matrix(user_side), matrix(item_side)))
    assert_same_rows(results[1][0], results[0][0], rtol=1e-3)
    assert_same_rows(results[1][1], results[0][1], rtol=1e-3)


@given(problems(), st.randoms(use_true_random=False))
def test_shuffled_interactions_give_the_same_bits(problem, random):
    of_users, _ = problem.sides
    order = list(range(len(problem.users)))
    random.shuffle(order)
    columns = {name: getattr(problem, name) for name in ("users", "items", "ratings", "weights")}
    shuffled = problem._replace(**{name: None if c is None else c[order] for name, c in columns.items()})
    results = []
    for variant in (problem, shuffled):
        user_side, item_side = variant.started()
        half_iteration(user_side, item_side, of_users)
        results.append(matrix(user_side))
    np.testing.assert_array_equal(results[0], results[1])


@given(problems())
def test_users_and_items_swapped_swap_the_results(problem):
    symmetric = replace(problem.objective, held=None, item_weight=make_item_weight())  # popularity is of items alone
    problem = problem._replace(objective=symmetric)
    users, items, ratings, weights, _, rank = problem
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    swapped = Interactions(items, users, ratings, weights=weights)
    swapped_users, swapped_items, _ = build_blocks(swapped, user_blocks=3, item_blocks=2)
    swapped_users.name, swapped_items.name = "items", "users"  # the same start: it is of the side in the original
    start_side(swapped_users, of_items, Start(rank, seed=0, scale=1.0, positive=False))
    half_iteration(user_side, item_side, of_users)
    half_iteration(swapped_items, swapped_users, of_users)
    assert_same_rows(matrix(swapped_items), matrix(user_side))


@given(problems())
def test_without_unobserved_weight_a_row_is_a_ridge_regression(problem):
    users, items, ratings, _, objective, rank = problem
    ridge = make_objective(make_confidence("constant", 1.0), unobserved_weight=0.0, reg_param=objective.reg_param)
    user_side, item_side = problem._replace(ratings=np.abs(ratings), weights=None, objective=ridge).started()
    fixed = matrix(item_side).astype(np.float64)
    half_iteration(user_side, item_side, ridge)
    for u, row in enumerate(matrix(user_side)):
        y = fixed[items[users == u]]
        weighted = 2.0 * y.T  # confidence 1 + 1, target 1
        expected = np.linalg.solve(weighted @ y + ridge.reg_param * np.eye(rank), weighted.sum(axis=1))
        assert_same_rows(row, expected)


@given(problems())
def test_nonnegative_rows_are_the_constrained_minimum(problem):
    problem = problem._replace(objective=replace(problem.objective, nonnegative=True))
    of_users, _ = problem.sides
    user_side, item_side = problem.started()
    c, t, _, penalties, _ = problem.dense()
    fixed = matrix(item_side).astype(np.float64)
    half_iteration(user_side, item_side, of_users)
    held = of_users.held
    if held is not None:
        t, fixed = t - fixed[:, held], np.delete(fixed, held, axis=1)
    expected = []
    for weight, target, penalty in zip(c, t, penalties, strict=True):  # as one tall least squares problem
        tall = np.vstack([fixed * np.sqrt(weight)[:, None], np.sqrt(penalty) * np.eye(fixed.shape[1])])
        expected.append(nnls(tall, np.concatenate([target * np.sqrt(weight), np.zeros(fixed.shape[1])]))[0])
    rows = matrix(user_side)
    assert_same_rows(rows if held is None else np.delete(rows, held, axis=1), np.array(expected))


def test_a_row_longer_than_a_batch_is_solved_in_steps():
    rng = np.random.default_rng(0)
    n, rank = 40_000, 32  # 10 MB of float64 rows: more than one step
    received = rng.normal(size=(n, rank)).astype(np.float32)
    ratings = rng.random(n).astype(np.float32)
    objective = make_objective(make_confidence("linear", 3.0), reg_param=2.0)
    row = weight_observations(
        InBlock.of(np.array([0, n]), np.arange(n, dtype=np.int32), ratings, np.array([0, n])), objective
    )
    gramian = received.astype(np.float64).T @ received.astype(np.float64)
    solved = solve_rows(LeastSquares(row, received, gramian, objective))
    expected = oracle.solve(1 + 3.0 * ratings[None].astype(np.float64), np.ones((1, n)), [2.0], received)
    assert_same_rows(solved.factors, expected)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_a_row_that_cannot_be_solved_is_named(value):
    received = np.ones((2, 3), dtype=np.float32)
    received[1] = value
    rows = InBlock.of(np.array([0, 1, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32), np.array([0, 2]))
    gramian = np.full((3, 3), 0.0)
    objective = make_objective(make_confidence("linear", 1e300 if value == 1e38 else 1.0), reg_param=1.0)
    problem = LeastSquares(weight_observations(rows, objective), received, gramian, objective)
    summary = solve_rows(problem).summary
    assert summary.failed_row == (0 if value == 1e38 else 1)
    assert summary.failure


def test_singular_normal_equations_are_named():
    received = np.ones((1, 2), dtype=np.float32)
    rows = InBlock.of(np.array([0, 1]), np.array([0], np.int32), np.ones(1, np.float32), np.array([0, 1]))
    objective = make_objective(reg_param=0.0)
    problem = LeastSquares(weight_observations(rows, objective), received, np.ones((2, 2)), objective)
    summary = solve_rows(problem).summary
    assert (summary.failed_row, summary.failure) == (0, "its normal equations are singular")


def test_a_block_without_rows_gives_an_empty_share():
    block, received = WeightedBlock.read(RecordArrays({})), np.empty((0, 4), dtype=np.float32)
    solved = solve_rows(LeastSquares(block, received, np.eye(4), make_objective()))
    assert solved.factors.shape == (0, 4)
    assert solved.summary.observed == 0.0
