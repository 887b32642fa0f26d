from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objectives import make_confidence, make_objective
from problems import assert_same_rows, matrix, problems

from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import weight_observations
from wals_spark.local.half_iteration import half_iteration
from wals_spark.solvers.conjugate_gradient import converge_rows
from wals_spark.solvers.half_iteration import CHOLESKY, EXACT, Solver, solve_rows
from wals_spark.solvers.systems import LeastSquares

RELAXATIONS = st.sampled_from([1.0, 1.5, 1.9])


def loss_before(problem) -> float:
    """Of the start and of zero factors, together: what sums in float32 begin with, and are precise to."""
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    c, t, constant, *penalties = problem.dense()
    held = of_users.held, of_items.held
    at_start = constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), penalties, held)
    return at_start + float((c * t**2).sum())


@given(problems(), RELAXATIONS)
@settings(max_examples=150)
def test_the_compiled_loops_do_what_numpy_does(problem, relaxation):
    """Entry by entry; where a row is nearly free to move, and rounding moves it, by what the difference costs."""
    pytest.importorskip("numba")
    of_users, of_items = problem.sides
    results = []
    for compiled in (False, True):
        solver = Solver("cg", 3, compiled=compiled, relaxation=relaxation)
        user_side, item_side = problem.started()
        start = matrix(item_side).astype(np.float64)
        losses = [half_iteration(user_side, item_side, of_users, solver).total]
        losses += [half_iteration(item_side, user_side, of_items, solver).total]
        results.append((losses, matrix(user_side).astype(np.float64), matrix(item_side).astype(np.float64)))
    (expected, users, items), (losses, *of_compiled) = results
    size = loss_before(problem)
    assert losses == pytest.approx(expected, rel=2e-3, abs=1e-4 * size)
    c, _, _, *penalties = problem.dense()
    systems = (of_users, users, start, c, penalties[0]), (of_items, items, users, c.T, penalties[1])
    determined = True
    for compiled_rows, (objective, rows, fixed, weights, diagonal) in zip(of_compiled, systems, strict=True):
        free = np.ix_(*2 * (objective.free(fixed.shape[1]),))
        lhs = [
            ((fixed.T * w) @ fixed + d * np.eye(fixed.shape[1]))[free] for w, d in zip(weights, diagonal, strict=True)
        ]
        if objective is of_users:  # the items of both are solved against users that differ already
            moved = (compiled_rows - rows)[:, objective.free(fixed.shape[1])]
            assert all(d @ a @ d <= 1e-4 * size for d, a in zip(moved, lhs, strict=True))
        determined &= all(np.linalg.cond(a) < 1e3 for a in lhs)
        if determined:
            entry = np.abs(rows).max() + 1e-3  # the start's size: a row that goes to zero ends in its rounding
            np.testing.assert_allclose(compiled_rows, rows, rtol=2e-3, atol=2e-3 * entry)


@given(problems(nonnegative=True))
def test_the_compiled_sums_are_numpys(problem):
    pytest.importorskip("numba")
    of_users, _ = problem.sides
    results = []
    for compiled in (False, True):
        user_side, item_side = problem.started()
        loss = half_iteration(user_side, item_side, of_users, Solver("cholesky", compiled=compiled))
        results.append((matrix(user_side), loss.total))
    assert_same_rows(results[1][0], results[0][0])
    assert results[1][1] == pytest.approx(results[0][1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
@given(problems())
def test_many_steps_reach_the_exact_rows(compiled, problem):
    """Where float32 can. Rows are compared by their loss, which is what their error costs."""
    of_users, _ = problem.sides
    user_side, item_side = problem.started()
    exactly = half_iteration(user_side, item_side, of_users, CHOLESKY)
    user_side, item_side = problem.started()
    by_steps = half_iteration(user_side, item_side, of_users, Solver("cg", 200, compiled=compiled))
    assert by_steps.total == pytest.approx(exactly.total, rel=1e-4, abs=1e-6 * loss_before(problem))


@given(problems())
@settings(max_examples=200)
def test_exact_rows_are_within_their_verified_error(problem):
    """In the norm of their own lhs, from any start; what float32 cannot verify is solved by Cholesky."""
    of_users, _ = problem.sides
    user_side, item_side = problem.started()
    c, t, _, penalties, _ = problem.dense()
    fixed = matrix(item_side).astype(np.float64)
    reported = half_iteration(user_side, item_side, of_users, EXACT)
    solved = matrix(user_side).astype(np.float64)
    expected = oracle.solve(c, t, penalties, fixed, of_users.held)
    free = of_users.free(fixed.shape[1])
    for u, (row, exact) in enumerate(zip(solved, expected, strict=True)):
        lhs = (fixed.T * c[u]) @ fixed + penalties[u] * np.eye(fixed.shape[1])
        error, size = (row - exact)[free], exact[free]
        lhs = lhs[np.ix_(free, free)]
        assert error @ lhs @ error <= 2e-5**2 * (size @ lhs @ size) + 1e-30
    user_side, item_side = problem.started()
    by_cholesky = half_iteration(user_side, item_side, of_users, CHOLESKY)
    assert reported.total == pytest.approx(by_cholesky.total, rel=1e-5, abs=1e-6 * loss_before(problem))


def test_rows_that_float32_cannot_verify_are_solved_by_cholesky():
    """One row's λ is far below the rounding of its other terms; the other row needs no help."""
    pytest.importorskip("numba")
    generator = np.random.default_rng(3)
    received = (generator.standard_normal((6, 4)) * [1e4, 1.0, 1.0, 1e-4]).astype(np.float32)
    rows = InBlock.of(
        np.array([0, 4, 6]), np.array([0, 1, 2, 3, 4, 5], np.int32), np.ones(6, np.float32), np.array([0, 6])
    )
    objective = make_objective(make_confidence("linear", 1.0), unobserved_weight=0.0, reg_param=1e-6)
    block = weight_observations(rows, objective)
    problem = LeastSquares(block, received, np.zeros((4, 4)), objective)
    converged = converge_rows(problem, None)
    assert converged is not None
    _, unverified = converged
    assert len(unverified)  # else this test shows nothing
    exact = solve_rows(problem, EXACT)
    overwritten = solve_rows(problem._replace(received=received.copy()), EXACT, overwrite_received=True)
    np.testing.assert_allclose(overwritten.factors, exact.factors, rtol=1e-3)  # of a condition of 1e16
    by_cholesky = solve_rows(problem, CHOLESKY)
    np.testing.assert_array_equal(exact.factors[unverified], by_cholesky.factors[unverified])
    assert exact.summary.observed == pytest.approx(by_cholesky.summary.observed, rel=1e-4)


def test_rows_that_start_from_zero_are_verified():
    """Their size, which ends the steps, is 0 at first; steps beyond float32 divide 0 by 0."""
    pytest.importorskip("numba")
    generator = np.random.default_rng(5)
    n_rows, n_fixed, width = 500, 40_000, 64
    received = generator.standard_normal((n_fixed, width)).astype(np.float32) / 8
    indptr = np.arange(n_rows + 1) * 80
    positions = generator.integers(0, n_fixed, indptr[-1]).astype(np.int32)
    objective = make_objective(make_confidence("linear", 1.0), reg_param=8.0)
    ratings = generator.integers(1, 5, indptr[-1]).astype(np.float32)
    block = weight_observations(InBlock.of(indptr, positions, ratings, np.array([0, n_fixed])), objective)
    problem = LeastSquares(block, received, received.T.astype(np.float64) @ received, objective)
    converged = converge_rows(problem, None)
    assert converged is not None
    solution, unverified = converged
    assert not len(unverified)
    expected = solve_rows(problem, CHOLESKY).factors
    np.testing.assert_allclose(solution.factors, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("solver", [Solver("cg", 50), Solver("cg", 50, compiled=False), EXACT])
def test_the_item_that_every_user_has_is_solved_with_the_others(solver):
    """A row of far more observations than the compiled loops gather at once, between short ones."""
    generator = np.random.default_rng(4)
    width, n_fixed = 64, 40_000
    received = generator.standard_normal((n_fixed, width)).astype(np.float32) / 8
    counts = np.array([3, n_fixed, 0, 500])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    positions = np.concatenate([np.sort(generator.permutation(n_fixed)[:n]) for n in counts]).astype(np.int32)
    ratings = generator.integers(1, 5, size=len(positions)).astype(np.float32)
    objective = make_objective(make_confidence("log", 10.0), reg_param=1.0)
    block = weight_observations(InBlock.of(indptr, positions, ratings, np.array([0, n_fixed])), objective)
    problem = LeastSquares(block, received, received.T.astype(np.float64) @ received, objective)
    solved, expected = solve_rows(problem, solver), solve_rows(problem, CHOLESKY)
    np.testing.assert_allclose(solved.factors, expected.factors, atol=1e-4 * np.abs(expected.factors).max())
    assert solved.summary.observed == pytest.approx(expected.summary.observed, rel=1e-4)


@pytest.mark.parametrize("solver", [Solver("cg", 6), Solver("cg", 6, compiled=False), EXACT])
def test_sums_over_millions_of_observations_keep_their_digits(solver):
    """float32 alone, term after term, is off by 1e-3 here: the loss then rises, and training refuses to go on."""
    n, width = 3_000_000, 4
    received = (np.random.default_rng(5).standard_normal((n, width)) / 20 + 0.01).astype(np.float32)
    rows = InBlock.of(np.array([0, n]), np.arange(n), np.ones(n), np.array([0, n]))
    objective = make_objective(make_confidence("log", 10.0), reg_param=0.1, reg_scaling="count")
    block = weight_observations(rows, objective)
    problem = LeastSquares(block, received, received.T.astype(np.float64) @ received, objective)
    solved, expected = solve_rows(problem, solver), solve_rows(problem, CHOLESKY)
    np.testing.assert_allclose(solved.factors, expected.factors, atol=5e-4 * np.abs(expected.factors).max())
    assert solved.summary.observed == pytest.approx(expected.summary.observed, rel=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
@given(problems(), RELAXATIONS)
def test_steps_never_raise_the_loss_and_report_the_one_there_is(compiled, problem, relaxation):
    of_users, of_items = problem.sides
    user_side, item_side = problem.started()
    c, t, constant, *penalties = problem.dense()
    size = loss_before(problem)
    before = None
    for _ in range(4):
        for solved, fixed, objective in ((item_side, user_side, of_items), (user_side, item_side, of_users)):
            loss = half_iteration(solved, fixed, objective, Solver("cg", 2, compiled=compiled, relaxation=relaxation))
            held = of_users.held, of_items.held
            exact = constant + oracle.loss(c, t, matrix(user_side), matrix(item_side), penalties, held)
            assert loss.total == pytest.approx(exact, rel=1e-4, abs=5e-5 * size + 1e-9)  # sums in float32
            assert before is None or exact <= before + 1e-5 * size + 1e-9
            before = exact


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_a_row_that_curves_downwards_or_is_not_finite_is_named(compiled):
    received = np.ones((2, 3), dtype=np.float32)
    rows = InBlock.of(np.array([0, 1, 2]), np.array([0, 1], np.int32), np.ones(2, np.float32), np.array([0, 2]))
    objective = make_objective(make_confidence("linear", 1.0), reg_param=1.0)
    received[1] = np.nan
    solver = Solver("cg", 3, compiled=compiled)
    problem = LeastSquares(weight_observations(rows, objective), received, np.zeros((3, 3)), objective)
    assert solve_rows(problem, solver).summary.failed_row == 1
    downward = make_objective(make_confidence("constant", 0.0, base=0.0), unobserved_weight=9.0, reg_param=1.0)
    received[1] = 1.0
    problem = problem._replace(block=weight_observations(rows, downward), objective=downward)
    summary = solve_rows(problem, solver).summary
    assert (summary.failed_row, summary.failure) == (0, "its normal equations are singular")
