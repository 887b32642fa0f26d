"""What rows' observations add up to: Σ w y yᵀ and Σ s y, to be solved where they are or elsewhere.

Row u, with its observations i ∈ Ω_u and the fixed side's rows y_i (`objective.py` has w, s and Λ):

    lhs = α₀ G + Σ w_ui y_i y_iᵀ + Λ_u I        rhs = Σ s_ui y_i        x_u = lhs⁻¹ rhs
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wals_spark.arrays.batching import observation_chunks
from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int64Array
from wals_spark.objective.objective import Objective
from wals_spark.solvers.cholesky import cholesky_solve
from wals_spark.solvers.nonnegative import nonnegative_solve


class HeavyRowSums(NamedTuple):
    """Rows of a block whose observations are elsewhere (`spread.py`), and what these add up to there.

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


def add_observations(
    indptr: Int64Array,
    positions: Indices,
    indices: Indices,
    excess_weight: Float32Array,
    target: Float32Array,
    unobserved_weight_in_confidence: float,
    received: Float32Array,
    rows: Int64Array,
    lhs: Float64Array,
    rhs: Float64Array,
) -> float:
    """Add ``Σ w y yᵀ`` to ``lhs`` (n, f, f) and ``Σ s y`` to ``rhs`` (n, f); ``Σ k`` over the rows' observations.

    By level-3 BLAS, some observations at a time; rows of similar length waste little on padding.
    """
    constant = 0.0
    for entry, present in observation_chunks(indptr, rows, received.shape[1]):
        code = indices[entry]
        w = np.where(present, excess_weight[code], 0.0).astype(np.float64)
        t = target[code].astype(np.float64)
        s = np.where(present, (w + unobserved_weight_in_confidence) * t, 0.0)
        fixed = received[positions[entry]].astype(np.float64)  # (n, n_padded, f)
        transposed = fixed.transpose(0, 2, 1)
        lhs += (transposed * w[:, None, :]) @ fixed
        rhs += (transposed @ s[:, :, None])[:, :, 0]
        constant += float(np.vdot(s, t))
    return constant


def complete(
    lhs: Float64Array, fixed_gramian: Float64Array, regularization: Float64Array, objective: Objective
) -> None:
    """Add what rows have without any observation, ``α₀ G + Λ I``, in place."""
    free = objective.free(lhs.shape[1])
    lhs += objective.unobserved_weight * fixed_gramian
    lhs[:, free, free] += regularization[:, None]


def of_free(lhs: Float64Array, rhs: Float64Array, objective: Objective) -> tuple[Float64Array, Float64Array]:
    """The systems of the coordinates that are solved for: with biases one is held at 1, and goes to the right."""
    if objective.held is None:
        return lhs, rhs
    free = objective.free(lhs.shape[1])
    return lhs[:, free[:, None], free], rhs[:, free] - lhs[:, free, objective.held]


def minimum(lhs: Float64Array, rhs: Float64Array, objective: Objective) -> Float64Array:
    """The exact solution of each system `of_free` coordinates; LinAlgError if one is singular."""
    return (nonnegative_solve if objective.nonnegative else cholesky_solve)(lhs, rhs)


def curve(lhs: Float64Array, x: Float64Array) -> Float64Array:
    """``xᵀ lhs x`` of each of the systems (n, f, f) and rows (n, f)."""
    value: Float64Array = np.einsum("bi,bij,bj->b", x, lhs, x, optimize=True)
    return value
