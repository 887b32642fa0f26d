"""The normal equations of rows: sums over their observations, and what is added to them before they are solved.

Row u, with its observations i ∈ Ω_u and the fixed side's rows y_i (`objective.py` has w, s and Λ):

    lhs = α₀ G + Σ w_ui y_i y_iᵀ + Λ_u I        rhs = Σ s_ui y_i        x_u = lhs⁻¹ rhs
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wals_spark.arrays.batching import observation_chunks
from wals_spark.arrays.types import Float64Array, Int64Array
from wals_spark.objective.objective import Objective
from wals_spark.solvers.cholesky import cholesky_solve
from wals_spark.solvers.nonnegative import nonnegative_solve
from wals_spark.solvers.systems import Observations


class HeavyRowSums(NamedTuple):
    """Rows of a block whose observations are in other blocks (`heavy_rows.py`), and the sums over them.

    Attributes
    ----------
    rows : int64, shape (n,)
        Which rows of the block, ascending.
    lhs : float64, shape (n, width, width)
        ``Σ w y yᵀ``.
    rhs : float64, shape (n, width)
        ``Σ s y``.
    constant : float64, shape (n,)
        ``Σ k``.
    """

    rows: Int64Array
    lhs: Float64Array
    rhs: Float64Array
    constant: Float64Array


def add_observations(observations: Observations, rows: Int64Array, lhs: Float64Array, rhs: Float64Array) -> float:
    """Add ``Σ w y yᵀ`` of each of the n rows to ``lhs`` (n, f, f) and ``Σ s y`` to ``rhs`` (n, f); return ``Σ k``.

    Uses level-3 BLAS, on batches of observations; rows of similar length waste little on padding.
    """
    constant = 0.0
    for entry, present in observation_chunks(observations.indptr, rows, observations.received.shape[1]):
        indices = observations.indices[entry]
        w = np.where(present, observations.excess_weight[indices], 0.0).astype(np.float64)
        t = observations.target[indices].astype(np.float64)
        s = np.where(present, (w + observations.unobserved_weight_in_confidence) * t, 0.0)
        y = observations.received[observations.positions[entry]].astype(np.float64)  # (n, n_padded, f)
        transposed = y.transpose(0, 2, 1)
        lhs += (transposed * w[:, None, :]) @ y
        rhs += (transposed @ s[:, :, None])[:, :, 0]
        constant += float(np.vdot(s, t))
    return constant


def complete_lhs(
    lhs: Float64Array, fixed_gramian: Float64Array, regularization: Float64Array, objective: Objective
) -> None:
    """Add what depends on no observation, ``α₀ G + Λ I``, in place."""
    free = objective.free(lhs.shape[1])
    lhs += objective.unobserved_weight * fixed_gramian
    lhs[:, free, free] += regularization[:, None]


def free_systems(lhs: Float64Array, rhs: Float64Array, objective: Objective) -> tuple[Float64Array, Float64Array]:
    """The systems of the coordinates that are solved for: with biases one is held at 1, and goes to the right."""
    if objective.held is None:
        return lhs, rhs
    free = objective.free(lhs.shape[1])
    return lhs[:, free[:, None], free], rhs[:, free] - lhs[:, free, objective.held]


def solve_free(lhs: Float64Array, rhs: Float64Array, objective: Objective) -> Float64Array:
    """The exact solution of each of `free_systems`; LinAlgError if one is singular."""
    return (nonnegative_solve if objective.nonnegative else cholesky_solve)(lhs, rhs)


def quadratic_form(lhs: Float64Array, x: Float64Array) -> Float64Array:
    """``xᵀ lhs x`` for systems (n, f, f) and rows (n, f), shape (n,)."""
    value: Float64Array = np.einsum("bi,bij,bj->b", x, lhs, x, optimize=True)
    return value
