"""One block's part of a half-iteration: its rows solved against the factors of the other side.

`normal_equations.py` has lhs and rhs of a row. The loss comes out of the same pass: with the row just solved,
Σ_Ω (w ŷ² − 2 s ŷ) = xᵀ(lhs − α₀G − Λ)x − 2 xᵀrhs. With biases one coordinate h of x_u is held at 1 and has no Λ:
the others solve lhs without its row and column, with lhs[:, h] subtracted from rhs.
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
from wals_spark.solvers.normal_equations import (
    HeavyRowSums,
    add_observations,
    complete_lhs,
    free_systems,
    quadratic_form,
    solve_free,
)
from wals_spark.solvers.systems import LeastSquares, Observations, Solution


class SolvedRows(NamedTuple):
    """What a task returns for its block."""

    factors: Float32Array  # (n_rows, width)
    summary: BlockSummary


@dataclass(frozen=True)
class BlockSummary:
    """What the driver needs of a block, independent of its number of rows.

    ``observed`` and ``penalty`` are the block's parts of the loss, ``gramian`` (width, width) its part of the
    solved side's Gramian. ``failed_row`` is the first row that has no finite solution, -1 if all have. At the start,
    ``weights`` are the confidences of the block's observations, ``constant`` the part of the loss that is theirs
    where all scores are 0, ``Σ k``, ``blas_threads`` the threads of the worker's BLAS, and ``warm_rows`` the rows that
    a warm start took from a stored model.
    ``seconds`` is the time that solving took, if it was measured; ``location`` is where the block is cached,
    ``cache_failure`` why it is not; ``reported`` are the factors of rows that the driver asked for.
    """

    rows: int
    observed: float
    penalty: float
    gramian: Float64Array
    failed_row: int = -1
    failure: str = ""
    weights: Histogram | None = None
    constant: float = 0.0
    blas_threads: int = 0
    warm_rows: int = 0
    seconds: float = 0.0
    location: tuple[str, str] | None = None
    cache_failure: str = ""
    reported: Float32Array | None = None


Method = Literal["cg", "exact", "cholesky"]


@dataclass(frozen=True)
class Solver:
    """How rows are solved.

    ``cg`` takes ``cg_steps`` conjugate gradient steps from the current factors. ``exact`` takes them until a row is
    verified to be exact to 1e-5, and solves by Cholesky the rows that float32 cannot bring there. ``cholesky`` solves
    all by Cholesky, in float64. ``compiled`` allows the compiled kernels where Numba is installed; without them
    ``exact`` is ``cholesky``. Non-negative factors are always the exact minimum over x ≥ 0.

    With ``relaxation`` ω, a row with current factors x that is solved to x' is moved to x + ω (x' − x), for ω > 1
    beyond it: nonlinear successive over-relaxation (Wen, Yin and Zhang, Math. Prog. Comp. 4, 2012). Around x', the
    minimum of all that was searched, the loss is a parabola along that line, so (ω − 1)² of the decrease is lost.
    """

    method: Method
    cg_steps: int = 0
    compiled: bool = True
    relaxation: float = 1.0

    @property
    def needs_current_factors(self) -> bool:
        """Whether the solution depends on the current factors."""
        return self.method != "cholesky" or self.relaxation != 1.0


EXACT = Solver("exact")
CHOLESKY = Solver("cholesky")


def solve_rows(
    problem: LeastSquares,
    solver: Solver = CHOLESKY,
    *,
    current: Float32Array | None = None,
    heavy_sums: HeavyRowSums | None = None,
    overwrite_received: bool = False,
) -> SolvedRows:
    """Solve every row of a block, and round it to float32.

    Parameters
    ----------
    current : float32, shape (n_rows, width)
        The current factors, if there are any; Cholesky uses them only with a relaxation.
    heavy_sums : HeavyRowSums
        The rows whose observations are in other blocks, if there are such rows.
    overwrite_received : bool
        Whether the received rows may be overwritten, which saves memory of their size.
    """
    nonnegative = problem.objective.nonnegative
    if heavy_sums is not None:
        return _solve_light_and_heavy(problem, solver, current, heavy_sums, overwrite_received=overwrite_received)
    if solver.method == "cg" and not nonnegative:
        compiled, overwrite = solver.compiled, overwrite_received
        solution = improve_rows(problem, current, solver.cg_steps, compiled=compiled, overwrite_received=overwrite)
    elif solver.method == "exact" and solver.compiled and not nonnegative:
        solution = _solve_exactly(problem, current, overwrite_received=overwrite_received)
    else:
        solution = _solve_by_cholesky(problem, current, compiled=solver.compiled)
    return _relax_and_summarize(solution, problem.block.regularization, problem, solver, current)


def _solve_light_and_heavy(
    problem: LeastSquares,
    solver: Solver,
    current: Float32Array | None,
    heavy_sums: HeavyRowSums,
    *,
    overwrite_received: bool,
) -> SolvedRows:
    """Solve the rows whose observations are in the block, and those of which there are only sums."""
    heavy = heavy_sums.rows
    light = np.delete(np.arange(problem.block.n_rows), heavy)
    current_light, current_heavy = (None, None) if current is None else (current[light], current[heavy])
    light_problem = problem._replace(block=problem.block.only(light))
    solved_light = solve_rows(light_problem, solver, current=current_light, overwrite_received=overwrite_received)
    solved_heavy = _solve_heavy_rows(problem, solver, current_heavy, heavy_sums)
    return _merged(solved_light, light, solved_heavy, heavy)


def _relax_and_summarize(
    solution: Solution,
    regularization: Float64Array,
    problem: LeastSquares,
    solver: Solver,
    current: Float32Array | None,
) -> SolvedRows:
    """Move rows beyond their solution, and summarize them; ``regularization`` and ``current`` are of these rows."""
    factors, value, objective = solution.factors, solution.value, problem.objective
    if solution.failed_row >= 0:
        return _failed(factors, solution.failed_row, "its normal equations are singular")
    if not np.isfinite(factors).all():
        failed_row = int(np.flatnonzero(~np.isfinite(factors).all(axis=1))[0])
        return _failed(factors, failed_row, "its factors are not finite")
    if current is not None and solver.relaxation != 1.0:
        for rows in row_slices(len(factors)):
            factors[rows] += np.float32(solver.relaxation - 1.0) * (factors[rows] - current[rows])
        value += (solver.relaxation - 1.0) ** 2 * solution.decrease
    solved_gramian = gramian(factors)
    penalty = _penalty(regularization, factors[:, objective.free(factors.shape[1])])
    unobserved = objective.unobserved_weight * float(np.vdot(solved_gramian, problem.fixed_gramian))
    return SolvedRows(factors, BlockSummary(len(factors), value - unobserved - penalty, penalty, solved_gramian))


def _solve_heavy_rows(
    problem: LeastSquares, solver: Solver, current: Float32Array | None, heavy_sums: HeavyRowSums
) -> SolvedRows:
    """Solve rows of which there are only sums, by the same steps as the other rows, or exactly."""
    objective = problem.objective
    regularization = problem.block.regularization[heavy_sums.rows]
    lhs, rhs, failed_row = heavy_sums.lhs.copy(), heavy_sums.rhs, -1
    free = objective.free(rhs.shape[1])
    complete_lhs(lhs, problem.fixed_gramian, regularization, objective)
    free_lhs, free_rhs = free_systems(lhs, rhs, objective)
    factors = np.ones(rhs.shape, dtype=np.float32)  # what is held stays 1
    if solver.method == "cg" and not objective.nonnegative:
        current_free = None if current is None else current[:, free]
        free_gramian = problem.fixed_gramian[np.ix_(free, free)]
        factors[:, free], failed_row = improve_dense(free_lhs, free_rhs, free_gramian, current_free, solver.cg_steps)
    else:
        try:
            factors[:, free] = solve_free(free_lhs, free_rhs, objective)
        except np.linalg.LinAlgError:
            failed_row = first_indefinite(free_lhs)

    def value_of(rows: Float32Array) -> float:
        x = rows.astype(np.float64)
        return float((quadratic_form(lhs, x) - 2.0 * np.einsum("bf,bf->b", x, rhs) + heavy_sums.constant).sum())

    value = value_of(factors)
    decrease = 0.0 if current is None else value_of(current) - value
    solution = Solution(factors, value, decrease, failed_row)
    return _relax_and_summarize(solution, regularization, problem, solver, current)


def _merged(light: SolvedRows, light_rows: Int64Array, heavy: SolvedRows, heavy_rows: Int64Array) -> SolvedRows:
    """One block of its two parts, each with the numbers of its rows."""
    for part, rows in ((light, light_rows), (heavy, heavy_rows)):
        if part.summary.failed_row >= 0:
            return SolvedRows(part.factors, replace(part.summary, failed_row=int(rows[part.summary.failed_row])))
    factors = np.empty((len(light_rows) + len(heavy_rows), light.factors.shape[1]), dtype=np.float32)
    factors[light_rows], factors[heavy_rows] = light.factors, heavy.factors
    a, b = light.summary, heavy.summary
    summary = BlockSummary(a.rows + b.rows, a.observed + b.observed, a.penalty + b.penalty, a.gramian + b.gramian)
    return SolvedRows(factors, summary)


def _solve_exactly(problem: LeastSquares, current: Float32Array | None, *, overwrite_received: bool) -> Solution:
    """By steps where they are verified, the other rows by Cholesky."""
    converged = converge_rows(problem, current, overwrite_received=overwrite_received)
    if converged is None:
        return _solve_by_cholesky(problem, current, compiled=True)
    solution, unverified = converged
    if not len(unverified):
        return solution
    unverified_problem = problem._replace(block=problem.block.only(unverified))
    unverified_current = None if current is None else current[unverified]
    by_cholesky = _solve_by_cholesky(unverified_problem, unverified_current, compiled=True)
    solution.factors[unverified] = by_cholesky.factors
    failed_row = by_cholesky.failed_row
    return Solution(
        solution.factors,
        solution.value + by_cholesky.value,
        solution.decrease + by_cholesky.decrease,
        int(unverified[failed_row]) if failed_row >= 0 else -1,
    )


def _solve_by_cholesky(problem: LeastSquares, current: Float32Array | None, *, compiled: bool) -> Solution:
    """All rows by Cholesky, or the non-negative minimum. Without ``current`` the decrease is not known, and 0."""
    block, fixed_gramian, objective = problem.block, problem.fixed_gramian, problem.objective
    width = fixed_gramian.shape[0]
    free = objective.free(width)
    factors = np.ones((block.n_rows, width), dtype=np.float32)  # what is held stays 1
    kernels = numba_kernels() if compiled else None
    add = kernels.normal_equations if kernels else add_observations
    observations = Observations.of(block, problem.received, objective.unobserved_weight_in_confidence)
    value = decrease = 0.0
    for rows in length_batches(block.counts, width):
        lhs, rhs = np.zeros((len(rows), width, width)), np.zeros((len(rows), width))
        constant = add(observations, rows, lhs, rhs)
        complete_lhs(lhs, fixed_gramian, block.regularization[rows], objective)
        free_lhs, free_rhs = free_systems(lhs, rhs, objective)
        try:
            factors[rows[:, None], free] = solve_free(free_lhs, free_rhs, objective)
        except np.linalg.LinAlgError:
            return Solution(factors, value, decrease, int(rows[first_indefinite(free_lhs)]))
        x = factors[rows].astype(np.float64)  # the loss is of the factors as stored
        value += constant + float(quadratic_form(lhs, x).sum()) - 2.0 * float(np.vdot(x, rhs))
        if current is not None:
            decrease += float(quadratic_form(lhs, x - current[rows]).sum())
    return Solution(factors, value, decrease, -1)


def summarize_start(
    factors: Float32Array, block: WeightedBlock, objective: Objective, times_of_heavy: Indices | None = None
) -> BlockSummary:
    """The summary of start factors: their Gramian, penalty and weights, no observed loss.

    ``times_of_heavy``, shape (n_distinct,), counts the pairs of w and t of observations that are not in the block.
    """
    penalty = _penalty(block.regularization, factors[:, objective.free(factors.shape[1])])
    times = count_indices(block.indices, len(block.excess_weight))
    if times_of_heavy is not None:
        times += times_of_heavy
    confidence = block.excess_weight + objective.unobserved_weight_in_confidence
    constant = float((confidence.astype(np.float64) * block.target.astype(np.float64) ** 2) @ times)
    weights = Histogram.of(confidence, times)
    return BlockSummary(len(factors), 0.0, penalty, gramian(factors), weights=weights, constant=constant)


def _penalty(regularization: Float64Array, free_factors: Float32Array) -> float:
    """``Σ_u Λ_u |x_u|²``."""
    return float(regularization @ np.einsum("ui,ui->u", free_factors, free_factors, dtype=np.float64))


def _failed(factors: Float32Array, row: int, failure: str) -> SolvedRows:
    width = factors.shape[1]
    return SolvedRows(factors, BlockSummary(len(factors), 0.0, 0.0, np.zeros((width, width)), row, failure))
