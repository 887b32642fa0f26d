"""What rows' observations add up to: Σ w y yᵀ and Σ s y, to be solved where they are or elsewhere.

Row u, with its observations i ∈ Ω_u and the fixed side's rows y_i (`objective.py` has w, s and Λ):

    lhs = α₀ G + Σ w_ui y_i y_iᵀ + Λ_u I        rhs = Σ s_ui y_i        x_u = lhs⁻¹ rhs
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.batches import chunks
from wals_spark.cholesky import cholesky_solve
from wals_spark.nonnegative import nonnegative_solve
from wals_spark.objective import Objective

Matrix = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]


class Summed(NamedTuple):
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

    rows: npt.NDArray[np.int64]
    lhs: Matrix
    rhs: Matrix
    constant: Matrix


def add_observations(
    indptr: npt.NDArray[np.int64],
    positions: Ints,
    codes: Ints,
    curvature: Factors,
    target: Factors,
    carried: float,
    received: Factors,
    rows: npt.NDArray[np.int64],
    lhs: Matrix,
    rhs: Matrix,
) -> float:
    """Add ``Σ w y yᵀ`` to ``lhs`` (n, f, f) and ``Σ s y`` to ``rhs`` (n, f); ``Σ k`` over the rows' observations.

    By level-3 BLAS, some observations at a time; rows of similar length waste little on padding.
    """
    constant = 0.0
    for entry, present in chunks(indptr, rows, received.shape[1]):
        code = codes[entry]
        w = np.where(present, curvature[code], 0.0).astype(np.float64)
        t = target[code].astype(np.float64)
        s = np.where(present, (w + carried) * t, 0.0)
        fixed = received[positions[entry]].astype(np.float64)  # (n, n_padded, f)
        transposed = fixed.transpose(0, 2, 1)
        lhs += (transposed * w[:, None, :]) @ fixed
        rhs += (transposed @ s[:, :, None])[:, :, 0]
        constant += float(np.vdot(s, t))
    return constant


def complete(lhs: Matrix, fixed_gramian: Matrix, regularization: Matrix, objective: Objective) -> None:
    """Add what rows have without any observation, ``α₀ G + Λ I``, in place."""
    free = objective.free(lhs.shape[1])
    lhs += objective.unobserved_weight * fixed_gramian
    lhs[:, free, free] += regularization[:, None]


def of_free(lhs: Matrix, rhs: Matrix, objective: Objective) -> tuple[Matrix, Matrix]:
    """The systems of the coordinates that are solved for: with biases one is held at 1, and goes to the right."""
    if objective.held is None:
        return lhs, rhs
    free = objective.free(lhs.shape[1])
    return lhs[:, free[:, None], free], rhs[:, free] - lhs[:, free, objective.held]


def minimum(lhs: Matrix, rhs: Matrix, objective: Objective) -> Matrix:
    """The exact solution of each system `of_free` coordinates; LinAlgError if one is singular."""
    return (nonnegative_solve if objective.nonnegative else cholesky_solve)(lhs, rhs)


def curve(lhs: Matrix, x: Matrix) -> Matrix:
    """``xᵀ lhs x`` of each of the systems (n, f, f) and rows (n, f)."""
    value: Matrix = np.einsum("bi,bij,bj->b", x, lhs, x, optimize=True)
    return value
