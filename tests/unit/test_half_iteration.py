from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_training import half_iteration, lay_out, start
from scipy.optimize import nnls

from wals_spark.blocks import InBlock
from wals_spark.confidence import FUNCTIONS, Confidence
from wals_spark.half_iteration import solve_rows
from wals_spark.objective import REG_SCALINGS, UNOBSERVED_ON, Objective


@st.composite
def objectives(draw, nonnegative=False):
    """Any combination of the settings that makes sense."""
    function = draw(st.sampled_from(FUNCTIONS))
    weights = {
        "confidence": Confidence(function, draw(st.sampled_from([0.5, 20.0])), 0.7, draw(st.sampled_from([0.0, 1.0]))),
        "unobserved_weight": draw(st.sampled_from([0.01, 0.3, 1.0])),
        "unobserved_on": draw(st.sampled_from(UNOBSERVED_ON)),
    }
    if draw(st.booleans()):
        weights = {"confidence": Confidence("constant", 1.0, base=0.0), "unobserved_weight": 0.0, "target": "rating"}
    return Objective(
        **weights,
        reg_param=draw(st.sampled_from([0.1, 1.0, 50.0])),
        reg_scaling=draw(st.sampled_from(REG_SCALINGS)),
        reg_exponent=draw(st.sampled_from([0.0, 0.5, 1.0])),
        nonnegative=nonnegative and draw(st.booleans()),
    )


@st.composite
def problems(draw, max_users=12, max_items=9, nonnegative=False):
    """Interactions of a few users and items, each id at least once, an objective, and a rank."""
    n_users, n_items = draw(st.integers(1, max_users)), draw(st.integers(1, max_items))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    observed = rng.random((n_users, n_items)) < draw(st.floats(0.05, 1.0))
    observed[np.arange(n_users), rng.integers(n_items, size=n_users)] = True
    observed[rng.integers(n_users, size=n_items), np.arange(n_items)] = True
    users, items = np.nonzero(observed)
    ratings = rng.exponential(draw(st.sampled_from([0.3, 1.0, 30.0])), size=len(users)) + 0.01
    if draw(st.booleans()):
        ratings[rng.random(len(ratings)) < 0.2] *= -1  # dislikes
    objective = draw(objectives(nonnegative))
    # An observation weighs at least nothing: c below α₀ would make it count less than none, and curve downwards.
    ratings = np.maximum(np.abs(ratings), 2.1) * np.sign(ratings) if objective.confidence.base == 0 else ratings
    rank = draw(st.sampled_from([1, 2, 5, 16]))  # often more factors than items
    order = rng.permutation(len(users))
    return users[order], items[order], ratings[order].astype(np.float32), objective, rank


def of_sides(problem):
    """The objective as each side has it."""
    users, items, _, objective, _ = problem
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    return replace(objective, n_fixed=n_items), replace(objective, n_fixed=n_users)


def laid_out_and_started(problem, user_blocks=2, item_blocks=3):
    users, items, ratings, _, rank = problem
    user_side, item_side, _ = lay_out(users, items, ratings, user_blocks=user_blocks, item_blocks=item_blocks)
    for side, name, objective in zip((user_side, item_side), ("users", "items"), of_sides(problem), strict=True):
        start(side, name, objective, rank=rank)
    return user_side, item_side


def dense_problem(problem):
    """C, T, the constant, and the penalties of users and of items."""
    users, items, ratings, objective, _ = problem
    c, t, constant, counted = oracle.general(users.max() + 1, items.max() + 1, users, items, ratings, objective)
    reg = (objective.reg_param, objective.reg_scaling, objective.unobserved_weight, objective.reg_exponent)
    return c, t, constant, oracle.diagonal(counted, *reg), oracle.diagonal(counted.T, *reg)


def matrix(side):
    by_id = side.by_id()
    return np.stack([by_id[i] for i in sorted(by_id)])


def assert_same_rows(actual, expected, rtol=1e-4):
    """Relative to the row's own size: a coordinate near zero owes nobody four digits."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


@given(problems())
def test_a_half_iteration_equals_the_dense_solve_on_either_side(problem):
    (of_users, of_items), rank = of_sides(problem), problem[4]
    user_side, item_side = laid_out_and_started(problem)
    c, t, _, user_penalties, item_penalties = dense_problem(problem)
    fixed = matrix(item_side)
    half_iteration(user_side, item_side, of_users, rank)
    assert_same_rows(matrix(user_side), oracle.solve(c, t, user_penalties, fixed))
    fixed = matrix(user_side)
    half_iteration(item_side, user_side, of_items, rank)
    assert_same_rows(matrix(item_side), oracle.solve(c.T, t.T, item_penalties, fixed))


@given(problems(nonnegative=True))
def test_the_reported_loss_equals_the_dense_double_loop(problem):
    (of_users, of_items), rank = of_sides(problem), problem[4]
    user_side, item_side = laid_out_and_started(problem)
    c, t, constant, *penalties = dense_problem(problem)
    for solved, fixed, objective in ((user_side, item_side, of_users), (item_side, user_side, of_items)):
        loss = half_iteration(solved, fixed, objective, rank)
        expected = constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), *penalties)
        # Σ c t² is what the loss starts from; a loss far below it is a difference of large numbers.
        assert loss.total == pytest.approx(expected, rel=1e-6, abs=1e-9 * float((c * t**2).sum()))


@given(problems())
def test_the_unobserved_and_penalty_parts_are_what_they_are_called(problem):
    (of_users, _), rank = of_sides(problem), problem[4]
    user_side, item_side = laid_out_and_started(problem)
    *_, user_penalties, item_penalties = dense_problem(problem)
    loss = half_iteration(user_side, item_side, of_users, rank)
    x, y = matrix(user_side).astype(np.float64), matrix(item_side).astype(np.float64)
    expected = of_users.unobserved_weight * ((x @ y.T) ** 2).sum()
    assert loss.unobserved == pytest.approx(expected, rel=1e-6, abs=1e-12)
    penalty = user_penalties @ (x**2).sum(axis=1) + item_penalties @ (y**2).sum(axis=1)
    assert loss.penalty == pytest.approx(penalty, rel=1e-6, abs=1e-12)


@given(problems(nonnegative=True))
@settings(max_examples=200)
def test_an_exact_half_iteration_never_raises_the_loss(problem):
    (of_users, of_items), rank = of_sides(problem), problem[4]
    user_side, item_side = laid_out_and_started(problem)
    before = None
    for _ in range(6):
        for solved, fixed, objective in ((item_side, user_side, of_items), (user_side, item_side, of_users)):
            loss = half_iteration(solved, fixed, objective, rank)
            size = abs(loss.observed) + loss.unobserved + loss.penalty
            assert before is None or loss.total <= before + 1e-9 * size
            before = loss.total


@given(problems(), st.integers(1, 15), st.integers(1, 15))
def test_the_factors_do_not_depend_on_the_blocks_more_blocks_than_rows_included(problem, m, n):
    (of_users, of_items), rank = of_sides(problem), problem[4]
    results = []
    for user_blocks, item_blocks in ((1, 1), (m, n)):
        user_side, item_side = laid_out_and_started(problem, user_blocks, item_blocks)
        half_iteration(user_side, item_side, of_users, rank)
        half_iteration(item_side, user_side, of_items, rank)
        results.append((matrix(user_side), matrix(item_side)))
    assert_same_rows(results[1][0], results[0][0], rtol=1e-3)
    assert_same_rows(results[1][1], results[0][1], rtol=1e-3)


@given(problems(), st.randoms(use_true_random=False))
def test_shuffled_interactions_give_the_same_bits(problem, random):
    users, items, ratings, objective, rank = problem
    of_users, _ = of_sides(problem)
    order = list(range(len(users)))
    random.shuffle(order)
    shuffled = (users[order], items[order], ratings[order], objective, rank)
    results = []
    for given_problem in (problem, shuffled):
        user_side, item_side = laid_out_and_started(given_problem)
        half_iteration(user_side, item_side, of_users, rank)
        results.append(matrix(user_side))
    np.testing.assert_array_equal(results[0], results[1])


@given(problems())
def test_users_and_items_swapped_swap_the_results(problem):
    users, items, ratings, _, rank = problem
    of_users, of_items = of_sides(problem)
    user_side, item_side = laid_out_and_started(problem)
    swapped_users, swapped_items, _ = lay_out(items, users, ratings, user_blocks=3, item_blocks=2)
    start(swapped_users, "items", of_items, rank=rank)  # the same start: it is of the ids' side in the original
    half_iteration(user_side, item_side, of_users, rank)
    half_iteration(swapped_items, swapped_users, of_users, rank)
    assert_same_rows(matrix(swapped_items), matrix(user_side))


@given(problems())
def test_without_unobserved_weight_a_row_is_a_ridge_regression_on_what_it_observed(problem):
    users, items, ratings, objective, rank = problem
    ridge = Objective(Confidence("constant", 1.0), unobserved_weight=0.0, reg_param=objective.reg_param)
    user_side, item_side = laid_out_and_started((users, items, np.abs(ratings), ridge, rank))
    fixed = matrix(item_side).astype(np.float64)
    half_iteration(user_side, item_side, ridge, rank)
    for u, row in enumerate(matrix(user_side)):
        y = fixed[items[users == u]]
        weighted = 2.0 * y.T  # confidence 1 + 1, target 1
        expected = np.linalg.solve(weighted @ y + ridge.reg_param * np.eye(rank), weighted.sum(axis=1))
        assert_same_rows(row, expected)


@given(problems())
def test_nonnegative_rows_are_the_minimum_over_what_is_not_negative(problem):
    users, items, ratings, objective, rank = problem
    problem = (users, items, ratings, replace(objective, nonnegative=True), rank)
    of_users, _ = of_sides(problem)
    user_side, item_side = laid_out_and_started(problem)
    c, t, _, penalties, _ = dense_problem(problem)
    fixed = matrix(item_side).astype(np.float64)
    half_iteration(user_side, item_side, of_users, rank)
    expected = []
    for weight, target, penalty in zip(c, t, penalties, strict=True):  # as one tall least squares problem
        tall = np.vstack([fixed * np.sqrt(weight)[:, None], np.sqrt(penalty) * np.eye(rank)])
        expected.append(nnls(tall, np.concatenate([target * np.sqrt(weight), np.zeros(rank)]))[0])
    assert_same_rows(matrix(user_side), np.array(expected))


def test_a_row_longer_than_a_batch_is_solved_in_steps():
    rng = np.random.default_rng(0)
    n, rank = 40_000, 32  # 10 MB of float64 rows: more than one step
    received = rng.normal(size=(n, rank)).astype(np.float32)
    ratings = rng.random(n).astype(np.float32)
    row = InBlock(np.array([0, n]), np.arange(n, dtype=np.int32), ratings, np.array([0, n]))
    gramian = received.astype(np.float64).T @ received.astype(np.float64)
    solved = solve_rows(row, received, gramian, Objective(Confidence("linear", 3.0), reg_param=2.0))
    expected = oracle.solve(1 + 3.0 * ratings[None].astype(np.float64), np.ones((1, n)), [2.0], received)
    assert_same_rows(solved.factors, expected)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_a_row_that_cannot_be_solved_is_named(value):
    received = np.ones((2, 3), dtype=np.float32)
    received[1] = value
    rows = InBlock(np.array([0, 1, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32), np.array([0, 2]))
    gramian = np.full((3, 3), 0.0)
    objective = Objective(Confidence("linear", 1e300 if value == 1e38 else 1.0), reg_param=1.0)
    summary = solve_rows(rows, received, gramian, objective).summary
    assert summary.failed_row == (0 if value == 1e38 else 1)
    assert summary.failure


def test_singular_normal_equations_are_named_and_not_solved_by_luck():
    received = np.ones((1, 2), dtype=np.float32)
    rows = InBlock(np.array([0, 1]), np.array([0], np.int32), np.ones(1, np.float32), np.array([0, 1]))
    summary = solve_rows(rows, received, np.ones((2, 2)), Objective(reg_param=0.0)).summary
    assert (summary.failed_row, summary.failure) == (0, "its normal equations are singular")


def test_a_block_without_rows_gives_an_empty_share():
    solved = solve_rows(InBlock.from_pieces({}), np.empty((0, 4), dtype=np.float32), np.eye(4), Objective())
    assert solved.factors.shape == (0, 4)
    assert solved.summary.observed == 0.0
