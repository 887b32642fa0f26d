"""One block's share of a half-iteration: its rows solved against the other side's factors.

`normal_equations.py` has lhs and rhs of a row. The loss comes out of the same pass: with the row just solved,
Σ_Ω (w ŷ² − 2 s ŷ) = xᵀ(lhs − α₀G − Λ)x − 2 xᵀrhs. With biases one coordinate h of x_u is held at 1 and carries no Λ:
the others solve lhs without its row and column, with lhs[:, h] taken from rhs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from wals_spark.arrays.batching import length_batches, row_slices
from wals_spark.arrays.dictionary import count_indices
from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.objective.objective import Objective
from wals_spark.solvers.cholesky import first_indefinite
from wals_spark.solvers.conjugate_gradient import converge_rows, improve_dense, improve_rows
from wals_spark.solvers.gramian import gramian
from wals_spark.solvers.kernels import numba_kernels
from wals_spark.solvers.normal_equations import HeavyRowSums, add_observations, complete, curve, minimum, of_free


class SolvedRows(NamedTuple):
    """What a task gives back for its block; ``failed_row`` is -1 where all is well."""

    factors: Float32Array  # (n_rows, width)
    summary: BlockSummary


@dataclass(frozen=True)
class BlockSummary:
    """What the driver needs of a block, independent of its number of rows.

    ``observed`` and ``penalty`` are the block's parts of the loss, ``gramian`` (width, width) its part of the
    solved side's Gramian. ``failed_row`` is the first row that has no finite solution, -1 if all have. At the start,
    ``weights`` are the confidences of the block's observations, and ``blas_threads`` what the worker's BLAS runs.
    ``seconds`` is for who runs a clock, ``location`` where the block is cached.
    """

    rows: int
    observed: float
    penalty: float
    gramian: Float64Array
    failed_row: int = -1
    failure: str = ""
    weights: Histogram | None = None
    blas_threads: int = 0
    seconds: float = 0.0
    location: tuple[str, str] | None = None


Method = Literal["cg", "exact", "cholesky"]


@dataclass(frozen=True)
class Solver:
    """How rows are solved.

    ``cg`` takes ``cg_steps`` conjugate gradient steps from where a row stands. ``exact`` takes them until the row is
    verified to be exact to 1e-5, and solves by Cholesky what float32 cannot bring there. ``cholesky`` solves all by
    Cholesky, in float64. ``compiled`` allows the compiled loops where there are any; without them ``exact`` is
    ``cholesky``. ``relaxation`` is the ω of `solve_rows`.
    """

    method: Method
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
    block: WeightedBlock,
    received: Float32Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    solver: Solver = CHOLESKY,
    start: Float32Array | None = None,
    add_partial_sums: HeavyRowSums | None = None,
    *,
    overwrite_received: bool = False,
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
    summed : Summed
        The rows whose observations are not in the block, if there are such.
    overwrite_received : bool
        Whether ``received`` may be used up, which saves memory of its size.
    """
    if add_partial_sums is not None:
        rest = np.delete(np.arange(block.n_rows), add_partial_sums.rows)
        current = (None, None) if start is None else (start[rest], start[add_partial_sums.rows])
        system = (block.only(rest), received, fixed_gramian, objective)
        own = solve_rows(*system, solver, current[0], overwrite_received=overwrite_received)
        regularization = block.regularization[add_partial_sums.rows]
        elsewhere = _solve_heavy_rows(add_partial_sums, regularization, fixed_gramian, objective, solver, current[1])
        return _together(own, rest, elsewhere, add_partial_sums.rows)
    system = (block, received, fixed_gramian, objective)
    if solver.method == "cg" and not objective.nonnegative:
        factors, fit, gain, failed = improve_rows(
            *system, start, solver.cg_steps, compiled=solver.compiled, overwrite_received=overwrite_received
        )
    elif solver.method == "exact" and solver.compiled and not objective.nonnegative:
        factors, fit, gain, failed = _exact_rows(*system, start, overwrite_received=overwrite_received)
    else:
        factors, fit, gain, failed = _cholesky_rows(*system, start, compiled=solver.compiled)
    return _finished((factors, fit, gain, failed), block.regularization, fixed_gramian, objective, solver, start)


_Rows = tuple[Float32Array, float, float, int]
"""The rows, ``Σ (xᵀ lhs x − 2 xᵀ rhs) + Σ k`` over them, what it lost, and the first that has no solution, or -1."""


def _finished(
    solved: _Rows,
    regularization: Float64Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    solver: Solver,
    start: Float32Array | None,
) -> SolvedRows:
    """Solved rows, relaxed and summarized."""
    factors, fit, gain, failed = solved
    if failed >= 0:
        return _failed(factors, failed, "its normal equations are singular")
    if not np.isfinite(factors).all():
        bad = int(np.flatnonzero(~np.isfinite(factors).all(axis=1))[0])
        return _failed(factors, bad, "its factors are not finite")
    if start is not None and solver.relaxation != 1.0:
        for rows in row_slices(len(factors)):
            factors[rows] += np.float32(solver.relaxation - 1.0) * (factors[rows] - start[rows])
        fit += (solver.relaxation - 1.0) ** 2 * gain
    solved_gramian = gramian(factors)
    penalty = _penalty(regularization, factors[:, objective.free(factors.shape[1])])
    unobserved = objective.unobserved_weight * float(np.vdot(solved_gramian, fixed_gramian))
    return SolvedRows(factors, BlockSummary(len(factors), fit - unobserved - penalty, penalty, solved_gramian))


def _solve_heavy_rows(
    add_partial_sums: HeavyRowSums,
    regularization: Float64Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    solver: Solver,
    start: Float32Array | None,
) -> SolvedRows:
    """Rows of which only sums are there; by the same steps as their neighbours, or exactly."""
    lhs, rhs, free = add_partial_sums.lhs.copy(), add_partial_sums.rhs, objective.free(add_partial_sums.rhs.shape[1])
    complete(lhs, fixed_gramian, regularization, objective)
    system, failed = of_free(lhs, rhs, objective), -1
    factors = np.ones(rhs.shape, dtype=np.float32)  # what is held stays 1
    if solver.method == "cg" and not objective.nonnegative:
        current = None if start is None else start[:, free]
        gramian_of_free = fixed_gramian[np.ix_(free, free)]
        factors[:, free], failed = improve_dense(*system, gramian_of_free, current, solver.cg_steps)
    else:
        try:
            factors[:, free] = minimum(*system, objective)
        except np.linalg.LinAlgError:
            failed = first_indefinite(system[0])

    def value(rows: Float32Array) -> float:
        x = rows.astype(np.float64)
        return float((curve(lhs, x) - 2.0 * np.einsum("bf,bf->b", x, rhs) + add_partial_sums.constant).sum())

    fit = value(factors)
    gain = 0.0 if start is None else value(start) - fit
    return _finished((factors, fit, gain, failed), regularization, fixed_gramian, objective, solver, start)


def _together(one: SolvedRows, rows: Int64Array, other: SolvedRows, other_rows: Int64Array) -> SolvedRows:
    """A block of which two parts were solved, each with the numbers of its rows."""
    for part, numbers in ((one, rows), (other, other_rows)):
        if part.summary.failed_row >= 0:
            return SolvedRows(part.factors, replace(part.summary, failed_row=int(numbers[part.summary.failed_row])))
    factors = np.empty((len(rows) + len(other_rows), one.factors.shape[1]), dtype=np.float32)
    factors[rows], factors[other_rows] = one.factors, other.factors
    a, b = one.summary, other.summary
    summary = BlockSummary(a.rows + b.rows, a.observed + b.observed, a.penalty + b.penalty, a.gramian + b.gramian)
    return SolvedRows(factors, summary)


def _exact_rows(
    block: WeightedBlock,
    received: Float32Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    start: Float32Array | None,
    *,
    overwrite_received: bool,
) -> _Rows:
    """By steps as far as they are verified, the other rows by Cholesky."""
    system = (block, received, fixed_gramian, objective, start)
    converged = converge_rows(*system, overwrite_received=overwrite_received)
    if converged is None:
        return _cholesky_rows(*system, compiled=True)
    factors, fit, gain, rest = converged
    if not len(rest):
        return factors, fit, gain, -1
    factors[rest], rest_fit, rest_gain, failed = _cholesky_rows(
        block.only(rest), received, fixed_gramian, objective, None if start is None else start[rest], compiled=True
    )
    return factors, fit + rest_fit, gain + rest_gain, int(rest[failed]) if failed >= 0 else -1


def _cholesky_rows(
    block: WeightedBlock,
    received: Float32Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    start: Float32Array | None,
    *,
    compiled: bool,
) -> _Rows:
    """All by Cholesky. Without ``start`` it is not known what was lost, and 0."""
    width = fixed_gramian.shape[0]
    free = objective.free(width)
    factors = np.ones((block.n_rows, width), dtype=np.float32)  # what is held stays 1
    loops = numba_kernels() if compiled else None
    sums = loops.normal_equations if loops else add_observations
    sides = (
        block.indptr,
        block.positions,
        block.indices,
        block.excess_weight,
        block.target,
        objective.unobserved_weight_in_confidence,
        received,
    )
    fit = gain = 0.0
    for rows in length_batches(block.counts, width):
        lhs, rhs = np.zeros((len(rows), width, width)), np.zeros((len(rows), width))
        constant = sums(*sides, rows, lhs, rhs)
        complete(lhs, fixed_gramian, block.regularization[rows], objective)
        system = of_free(lhs, rhs, objective)
        try:
            factors[rows[:, None], free] = minimum(*system, objective)
        except np.linalg.LinAlgError:
            return factors, fit, gain, int(rows[first_indefinite(system[0])])
        x = factors[rows].astype(np.float64)  # the loss is of the factors as stored
        fit += constant + float(curve(lhs, x).sum()) - 2.0 * float(np.vdot(x, rhs))
        if start is not None:
            gain += float(curve(lhs, x - start[rows]).sum())
    return factors, fit, gain, -1


def summarize_start(
    factors: Float32Array, block: WeightedBlock, objective: Objective, elsewhere: Indices | None = None
) -> BlockSummary:
    """The summary of rows that nobody solved yet: their Gramian, penalty and weights, no observed loss.

    ``elsewhere``, shape (n_distinct,), counts the weights of observations that are not in the block.
    """
    penalty = _penalty(block.regularization, factors[:, objective.free(factors.shape[1])])
    times = count_indices(block.indices, len(block.excess_weight))
    if elsewhere is not None:
        times += elsewhere
    weights = Histogram.of(block.excess_weight + objective.unobserved_weight_in_confidence, times)
    return BlockSummary(len(factors), 0.0, penalty, gramian(factors), weights=weights)


def _penalty(regularization: Float64Array, free_factors: Float32Array) -> float:
    """``Σ_u Λ_u |x_u|²``."""
    return float(regularization @ np.einsum("ui,ui->u", free_factors, free_factors, dtype=np.float64))


def _failed(factors: Float32Array, row: int, failure: str) -> SolvedRows:
    width = factors.shape[1]
    return SolvedRows(factors, BlockSummary(len(factors), 0.0, 0.0, np.zeros((width, width)), row, failure))
