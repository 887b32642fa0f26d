"""Many small non-negative least squares problems solved at once, by block principal pivoting."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.types import BoolArray, Float64Array
from wals_spark.solvers.cholesky import cholesky_solve

_ROUNDING = 1e-10  # of a coordinate against its row's largest, of a gradient against the terms it is summed from
_FULL_EXCHANGES = 3  # in a row that may fail to help, as in the paper


def nonnegative_solve(lhs: Float64Array, rhs: Float64Array) -> Float64Array:
    """Minimise ``½ xᵀ lhs[b] x − rhs[b]ᵀ x`` over x ≥ 0 for every b.

    A row splits its coordinates into those that are free and those that are 0, solves the free ones exactly, and
    exchanges every coordinate on the wrong side: a free one below 0, a zero one with a downward gradient. Where that
    stops helping, one coordinate at a time is exchanged, which ends for positive definite systems (Kim and Park, SIAM
    J. Sci. Comput. 2011, algorithm 2). Coordinate descent has steps of its own that are cheaper, and on strongly
    correlated factors needs tens of thousands of them. A row that does not end has no solution here: it is nan.

    Parameters
    ----------
    lhs : shape (n, f, f)
    rhs : shape (n, f)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a system is not positive definite beyond rounding.
    """
    n, rank = rhs.shape
    solution = np.full((n, rank), np.nan)  # no answer is better than one that only looks like it
    free = cholesky_solve(lhs, rhs) > 0
    fewest_wrong, patience = np.full(n, rank + 1), np.full(n, _FULL_EXCHANGES)
    active = np.arange(n)
    for _ in range(20 * rank + 100):  # 7 for 200 systems of 64 with condition 1e10
        if not len(active):
            break
        a, b, f = lhs[active], rhs[active], free[active]
        x = _solve_free(a, b, f)
        terms = np.abs(b) + np.einsum("bij,bj->bi", np.abs(a), np.abs(x))
        gradient = np.einsum("bij,bj->bi", a, x) - b
        too_low = f & (x < -_ROUNDING * np.abs(x).max(axis=1, keepdims=True))
        wrong = too_low | (~f & (gradient < -_ROUNDING * terms))
        count = wrong.sum(axis=1)
        done = count == 0
        solution[active[done]] = np.maximum(x[done], 0.0)

        better = count < fewest_wrong[active]
        patience[active] = np.where(better, _FULL_EXCHANGES, patience[active] - 1)
        fewest_wrong[active] = np.minimum(count, fewest_wrong[active])
        last_wrong = rank - 1 - np.argmax(wrong[:, ::-1], axis=1)
        one = np.arange(rank) == last_wrong[:, None]
        free[active] = f ^ np.where((patience[active] >= 0)[:, None], wrong, wrong & one)
        active = active[~done]
    return solution


def _solve_free(lhs: Float64Array, rhs: Float64Array, free: BoolArray) -> Float64Array:
    """The exact minimum of each system with the other coordinates at 0: they keep their diagonal, and nothing else."""
    rank = rhs.shape[1]
    kept = (free[:, :, None] & free[:, None, :]) | np.eye(rank, dtype=bool)
    return cholesky_solve(np.where(kept, lhs, 0.0), np.where(free, rhs, 0.0))
