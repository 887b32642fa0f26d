"""One block's share of a half-iteration: its rows solved against the other side's factors.

Row u, with its observations i ∈ Ω_u and the fixed side's rows y_i (`objective.py` has w, s and Λ):

    lhs = α₀ G + Σ w_ui y_i y_iᵀ + Λ_u I        rhs = Σ s_ui y_i        x_u = lhs⁻¹ rhs

The loss comes out of the same pass: with the row just solved, Σ_Ω (w ŷ² − 2 s ŷ) = xᵀ(lhs − α₀G − Λ)x − 2 xᵀrhs.
With biases one coordinate h of x_u is held at 1 and carries no Λ: the others solve lhs without its row and column,
with lhs[:, h] taken from rhs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.batches import batches, chunks, slices
from wals_spark.cholesky import cholesky_solve, first_indefinite
from wals_spark.conjugate_gradient import converge_rows, improve_rows
from wals_spark.gramian import gramian
from wals_spark.histogram import Histogram
from wals_spark.kernels import compiled_loops
from wals_spark.nonnegative import nonnegative_solve
from wals_spark.objective import Objective
from wals_spark.weighing import WeighedBlock

Matrix = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]


class SolvedRows(NamedTuple):
    """What a task gives back for its block; ``failed_row`` is -1 where all is well."""

    factors: Factors  # (n_rows, width)
    summary: BlockSummary


@dataclass(frozen=True)
class BlockSummary:
    """What the driver needs of a block, independent of its number of rows.

    ``observed`` and ``penalty`` are the block's parts of the loss, ``gramian`` (width, width) its part of the
    solved side's Gramian. ``failed_row`` is the first row that has no finite solution, -1 if all have. At the start,
    ``weights`` are the confidences of the block's observations, and ``blas_threads`` what the worker's BLAS runs.
    ``seconds`` is for who runs a clock, ``place`` for who has more machines than one.
    """

    rows: int
    observed: float
    penalty: float
    gramian: Matrix
    failed_row: int = -1
    failure: str = ""
    weights: Histogram | None = None
    blas_threads: int = 0
    seconds: float = 0.0
    place: tuple[str, str] | None = None


@dataclass(frozen=True)
class Solver:
    """How rows are solved.

    ``cg`` takes ``cg_steps`` conjugate gradient steps from where a row stands. ``exact`` takes them until the row is
    verified to be exact to 1e-5, and solves by Cholesky what float32 cannot bring there. ``cholesky`` solves all by
    Cholesky, in float64. ``compiled`` allows the compiled loops where there are any; without them ``exact`` is
    ``cholesky``. ``relaxation`` is the ω of `solve_rows`.
    """

    method: Literal["cg", "exact", "cholesky"]
    cg_steps: int = 0
    compiled: bool = True
    relaxation: float = 1.0

    @property
    def needs_start(self) -> bool:
        """Whether rows are solved from where they stand."""
        return self.method != "cholesky" or self.relaxation != 1.0


EXACT = Solver("exact")
CHOLESKY = Solver("cholesky")


def solve_rows(
    block: WeighedBlock,
    received: Factors,
    fixed_gramian: Matrix,
    objective: Objective,
    solver: Solver = CHOLESKY,
    start: Factors | None = None,
) -> SolvedRows:
    """Solve every row of a block, and store it as float32.

    With ``objective.nonnegative`` always by the exact minimum over x ≥ 0.

    With ``solver.relaxation`` ω, a row that stands at x and is solved to x' is moved to x + ω (x' − x), for ω > 1
    beyond it: nonlinear successive over-relaxation (Wen, Yin and Zhang, Math. Prog. Comp. 4, 2012). Around x', the
    minimum of all that was searched, the loss is a parabola along that line, so (ω − 1)² of what the solve gained is
    given back.

    Parameters
    ----------
    received : float32, shape (n_received, width)
        The fixed side's rows that ``block.positions`` points into; width is the rank, or with biases two more.
    fixed_gramian : float64, shape (width, width)
        Of *all* rows of the fixed side, those not received included.
    start : float32, shape (n_rows, width)
        The rows as they stand, if they do; Cholesky has a use for them only with a relaxation.
    """
    system = (block, received, fixed_gramian, objective)
    if solver.method == "cg" and not objective.nonnegative:
        factors, fit, gain, failed = improve_rows(*system, start, solver.cg_steps, compiled=solver.compiled)
    elif solver.method == "exact" and solver.compiled and not objective.nonnegative:
        factors, fit, gain, failed = _exact_rows(*system, start)
    else:
        factors, fit, gain, failed = _cholesky_rows(*system, start, compiled=solver.compiled)
    if failed >= 0:
        return _failed(factors, failed, "its normal equations are singular")
    if not np.isfinite(factors).all():
        bad = int(np.flatnonzero(~np.isfinite(factors).all(axis=1))[0])
        return _failed(factors, bad, "its factors are not finite")
    if start is not None and solver.relaxation != 1.0:
        for rows in slices(len(factors)):
            factors[rows] += np.float32(solver.relaxation - 1.0) * (factors[rows] - start[rows])
        fit += (solver.relaxation - 1.0) ** 2 * gain
    solved_gramian = gramian(factors)
    penalty = _penalty(block, factors[:, objective.free(factors.shape[1])])
    unobserved = objective.unobserved_weight * float(np.vdot(solved_gramian, fixed_gramian))
    return SolvedRows(factors, BlockSummary(block.n_rows, fit - unobserved - penalty, penalty, solved_gramian))


def _exact_rows(
    block: WeighedBlock, received: Factors, fixed_gramian: Matrix, objective: Objective, start: Factors | None
) -> tuple[Factors, float, float, int]:
    """By steps as far as they are verified, the other rows by Cholesky; results as of `_cholesky_rows`."""
    converged = converge_rows(block, received, fixed_gramian, objective, start)
    if converged is None:
        return _cholesky_rows(block, received, fixed_gramian, objective, start, compiled=True)
    factors, fit, gain, rest = converged
    if not len(rest):
        return factors, fit, gain, -1
    factors[rest], rest_fit, rest_gain, failed = _cholesky_rows(
        block.only(rest), received, fixed_gramian, objective, None if start is None else start[rest], compiled=True
    )
    return factors, fit + rest_fit, gain + rest_gain, int(rest[failed]) if failed >= 0 else -1


def _cholesky_rows(
    block: WeighedBlock,
    received: Factors,
    fixed_gramian: Matrix,
    objective: Objective,
    start: Factors | None,
    *,
    compiled: bool,
) -> tuple[Factors, float, float, int]:
    """The rows, ``Σ (xᵀ lhs x − 2 xᵀ rhs) + Σ k`` over them, what it lost, and the first whose lhs is singular, or -1.

    Without ``start`` it is not known what it lost, and 0.
    """
    width = fixed_gramian.shape[0]
    free = objective.free(width)
    factors = np.ones((block.n_rows, width), dtype=np.float32)  # what is held stays 1
    unobserved = objective.unobserved_weight * fixed_gramian
    loops = compiled_loops() if compiled else None
    sums = loops.normal_equations if loops else _normal_equations
    sides = (block.indptr, block.positions, block.codes, block.curvature, block.target, objective.carried, received)
    fit = gain = 0.0
    for rows in batches(block.counts, width):
        lhs, rhs = np.zeros((len(rows), width, width)), np.zeros((len(rows), width))
        constant = sums(*sides, rows, lhs, rhs)
        lhs += unobserved
        lhs[:, free, free] += block.regularization[rows, None]
        system = (lhs, rhs)
        if objective.held is not None:
            system = (lhs[:, free[:, None], free], rhs[:, free] - lhs[:, free, objective.held])
        try:
            solution = (nonnegative_solve if objective.nonnegative else cholesky_solve)(*system)
        except np.linalg.LinAlgError:
            return factors, fit, gain, int(rows[first_indefinite(system[0])])
        factors[rows[:, None], free] = solution
        x = factors[rows].astype(np.float64)  # the loss is of the factors as stored
        fit += constant + _curve(lhs, x) - 2.0 * float(np.vdot(x, rhs))
        if start is not None:
            gain += _curve(lhs, x - start[rows])
    return factors, fit, gain, -1


def _curve(lhs: Matrix, x: Matrix) -> float:
    """``Σ xᵀ lhs x`` over systems (b, f, f) and rows (b, f)."""
    return float(np.einsum("bi,bij,bj->", x, lhs, x, optimize=True))


def summarize_start(factors: Factors, block: WeighedBlock, objective: Objective) -> BlockSummary:
    """The summary of rows that nobody solved yet: their Gramian, penalty and weights, no observed loss."""
    penalty = _penalty(block, factors[:, objective.free(factors.shape[1])])
    weights = Histogram.of(
        block.curvature + objective.carried, np.bincount(block.codes, minlength=len(block.curvature))
    )
    return BlockSummary(len(factors), 0.0, penalty, gramian(factors), weights=weights)


def _penalty(block: WeighedBlock, free_factors: Factors) -> float:
    """``Σ_u Λ_u |x_u|²``."""
    return float(block.regularization @ np.einsum("ui,ui->u", free_factors, free_factors, dtype=np.float64))


def _failed(factors: Factors, row: int, failure: str) -> SolvedRows:
    width = factors.shape[1]
    return SolvedRows(factors, BlockSummary(len(factors), 0.0, 0.0, np.zeros((width, width)), row, failure))


def _normal_equations(
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
    """Add ``Σ w y yᵀ`` to ``lhs`` (n, f, f) and ``Σ s y`` to ``rhs`` (n, f); ``Σ k`` over the rows' observations."""
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
