from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from wals_spark.solvers.nonnegative import nonnegative_solve


@given(st.integers(0, 5), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([1e-2, 1.0]))
def test_solutions_equal_scipys(n, rank, seed, ridge):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, rank, rank + 2))
    lhs, rhs = a @ a.transpose(0, 2, 1) + ridge * np.eye(rank), 3 * rng.normal(size=(n, rank))
    solved = nonnegative_solve(lhs, rhs)
    assert (solved >= 0).all()
    for matrix, vector, x in zip(lhs, rhs, solved, strict=True):
        root = np.linalg.cholesky(matrix)
        expected, _ = nnls(root.T, np.linalg.solve(root, vector))
        np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-7 * max(1.0, expected.max()))


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_factors_that_nearly_agree_do_not_stop_it(rank, seed):
    """Coordinate descent takes tens of thousands of sweeps here; the solution is checked for optimality."""
    rng = np.random.default_rng(seed)
    a = np.abs(rng.normal(size=(1, 1, rank + 2))) + 1e-3 * np.abs(rng.normal(size=(1, rank, rank + 2)))
    lhs, rhs = a @ a.transpose(0, 2, 1) + 1e-5 * np.eye(rank), 5 * rng.normal(size=(1, rank))
    x = nonnegative_solve(lhs, rhs)[0]
    gradient = lhs[0] @ x - rhs[0]
    terms = np.abs(lhs[0]) @ x + np.abs(rhs[0])
    assert (x >= 0).all()
    assert (gradient > -1e-8 * terms).all()
    assert (np.abs(gradient)[x > 0] < 1e-8 * terms[x > 0]).all()


def test_without_a_positive_direction_the_solution_is_zero():
    np.testing.assert_array_equal(nonnegative_solve(np.eye(3)[None], -np.ones((1, 3))), np.zeros((1, 3)))


def test_an_indefinite_system_is_refused():
    with pytest.raises(np.linalg.LinAlgError):
        nonnegative_solve(np.diag([1.0, -1.0])[None], np.ones((1, 2)))
