"""Many small non-negative least squares problems solved at once, by cyclic coordinate descent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wals_spark.cholesky import cholesky_solve

Array = npt.NDArray[np.float64]

_TOLERANCE = 1e-10  # of a step, against the largest coordinate of its row
_MAX_SWEEPS = 20_000


def nonnegative_solve(lhs: Array, rhs: Array) -> Array:
    """Minimise ``½ xᵀ lhs[b] x − rhs[b]ᵀ x`` over x ≥ 0 for every b.

    A sweep sets each coordinate to its minimum given the others, never below zero; for positive definite systems
    the sweeps converge to the one solution (Franc, Hlaváč and Navara 2005). They begin at the unconstrained
    solution, clipped, and a system leaves the batch when a whole sweep hardly moves it. One that never does has no
    solution here: its row is nan.

    Parameters
    ----------
    lhs : shape (n, f, f)
    rhs : shape (n, f)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a system is not positive definite beyond rounding.
    """
    solution: Array = np.maximum(cholesky_solve(lhs, rhs), 0.0)
    active = np.arange(len(rhs))
    for _ in range(_MAX_SWEEPS):
        if not len(active):
            return solution
        x, a = solution[active], lhs[active]
        gradient = np.einsum("bij,bj->bi", a, x) - rhs[active]
        moved = np.zeros(len(active))
        for k in range(rhs.shape[1]):
            step = np.maximum(x[:, k] - gradient[:, k] / a[:, k, k], 0.0) - x[:, k]
            x[:, k] += step
            gradient += a[:, :, k] * step[:, None]
            moved = np.maximum(moved, np.abs(step))
        solution[active] = x
        active = active[moved > _TOLERANCE * x.max(axis=1)]
    solution[active] = np.nan  # no answer is better than one that only looks like it
    return solution
