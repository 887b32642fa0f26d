"""Batches of small symmetric positive definite systems, solved with NumPy alone."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.types import Float64Array

_FEW_SYSTEMS = 16  # substitution by columns is 2 f calls of NumPy, 1 ms at f = 64, however few systems there are


def cholesky_solve(lhs: Float64Array, rhs: Float64Array) -> Float64Array:
    """Solve ``lhs[b] x = rhs[b]`` for every b: factor ``L Lᵀ``, then substitute forwards and backwards.

    NumPy has no triangular solver, so substitution goes through the columns of all systems of the batch together
    (docs/adr/0003 compares its cost with that of a general solver).

    Parameters
    ----------
    lhs : shape (n, f, f)
    rhs : shape (n, f)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a system is not positive definite beyond rounding; `first_indefinite` finds it.
    """
    lower = _factor(lhs)
    if len(lhs) < _FEW_SYSTEMS:
        solution: Float64Array = np.linalg.solve(lhs, rhs[:, :, None])[:, :, 0].astype(np.float64, copy=False)
        return solution
    rank = rhs.shape[1]
    x: Float64Array = rhs.copy()
    for k in range(rank):
        x[:, k] -= np.einsum("bj,bj->b", lower[:, k, :k], x[:, :k])
        x[:, k] /= lower[:, k, k]
    for k in reversed(range(rank)):
        x[:, k] /= lower[:, k, k]
        x[:, :k] -= lower[:, k, :k] * x[:, k, None]
    return x


def first_indefinite(lhs: Float64Array) -> int:
    """The number of the first system of a batch that `cholesky_solve` cannot solve, or -1."""
    for number, matrix in enumerate(lhs):
        try:
            _factor(matrix[None])
        except np.linalg.LinAlgError:
            return number
    return -1


def _factor(lhs: Float64Array) -> Float64Array:
    """``L`` of ``lhs = L Lᵀ``; a pivot that is all rounding error raises LinAlgError: the solution would be noise."""
    lower: Float64Array = np.linalg.cholesky(lhs).astype(np.float64, copy=False)
    pivots = np.einsum("bkk->bk", lower) ** 2
    noise = lhs.shape[1] * np.finfo(np.float64).eps * np.einsum("bkk->bk", lhs)
    if not (pivots > noise).all():
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return lower
