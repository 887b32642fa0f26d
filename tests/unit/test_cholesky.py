from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.solvers.cholesky import cholesky_solve, first_indefinite


@given(st.integers(0, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_solutions_equal_a_general_solver(n, rank, seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, rank, rank + 3))
    lhs, rhs = a @ a.transpose(0, 2, 1) + np.eye(rank), rng.normal(size=(n, rank))
    np.testing.assert_allclose(
        cholesky_solve(lhs, rhs), np.linalg.solve(lhs, rhs[:, :, None])[:, :, 0], rtol=1e-8, atol=1e-10
    )


def test_an_indefinite_system_is_refused_and_found():
    lhs = np.stack([np.eye(3), np.diag([1.0, -1.0, 1.0]), np.eye(3)])
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_solve(lhs, np.ones((3, 3)))
    assert first_indefinite(lhs) == 1
    assert first_indefinite(lhs[:1]) == -1
