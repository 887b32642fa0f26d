"""Batches of small non-negative least squares problems, solved by block principal pivoting."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.types import BoolArray, Float64Array
from wals_spark.solvers.cholesky import cholesky_solve

_ROUNDING = 1e-10  # of a coordinate relative to its row's largest, of a gradient relative to the terms of its sum
_FULL_EXCHANGES = 3  # in succession that may fail to help, as in the paper


def nonnegative_solve(lhs: Float64Array, rhs: Float64Array) -> Float64Array:
    """Minimise ``½ xᵀ lhs[b] x − rhs[b]ᵀ x`` over x ≥ 0 for every b.

    A row splits its coordinates into those that are free and those that are 0, solves the free ones exactly, and
    exchanges every coordinate on the wrong side: a free one below 0, a zero one with a downward gradient. Where that
    stops helping, one coordinate at a time is exchanged, which ends for positive definite systems (Kim and Park, SIAM
    J. Sci. Comput. 2011, algorithm 2). The steps of coordinate descent are cheaper, but with strongly correlated
    factors it needs tens of thousands of them. A row that does not end has no solution here: it is nan.

    Parameters are ``lhs`` (n, f, f) and ``rhs`` (n, f); LinAlgError if a system is not positive definite beyond
    rounding.
    """
    n, rank = rhs.shape
    solution = np.full((n, rank), np.nan)  # no answer is better than a wrong one
    free = cholesky_solve(lhs, rhs) > 0
    fewest_wrong, patience = np.full(n, rank + 1), np.full(n, _FULL_EXCHANGES)
    active = np.arange(n)
    for _ in range(20 * rank + 100):  # 7 for 200 systems of 64 with condition 1e10
        if not len(active):
            break
        x, wrong = _solve_free(lhs[active], rhs[active], free[active])
        count = wrong.sum(axis=1)
        done = count == 0
        solution[active[done]] = np.maximum(x[done], 0.0)

        better = count < fewest_wrong[active]
        patience[active] = np.where(better, _FULL_EXCHANGES, patience[active] - 1)
        fewest_wrong[active] = np.minimum(count, fewest_wrong[active])
        last_wrong = rank - 1 - np.argmax(wrong[:, ::-1], axis=1)
        one = np.arange(rank) == last_wrong[:, None]
        free[active] ^= np.where((patience[active] >= 0)[:, None], wrong, wrong & one)
        active = active[~done]
    return solution


def _solve_free(lhs: Float64Array, rhs: Float64Array, free: BoolArray) -> tuple[Float64Array, BoolArray]:
    """The exact minimum of each system with its other coordinates at 0, and which coordinates are on the wrong side."""
    rank = rhs.shape[1]
    kept = (free[:, :, None] & free[:, None, :]) | np.eye(rank, dtype=bool)  # the others keep their diagonal alone
    x = cholesky_solve(np.where(kept, lhs, 0.0), np.where(free, rhs, 0.0))
    terms = np.abs(rhs) + np.einsum("bij,bj->bi", np.abs(lhs), np.abs(x))
    gradient = np.einsum("bij,bj->bi", lhs, x) - rhs
    too_low = free & (x < -_ROUNDING * np.abs(x).max(axis=1, keepdims=True))
    wrong: BoolArray = too_low | (~free & (gradient < -_ROUNDING * terms))
    return x, wrong
