"""One block's share of a half-iteration: its rows solved exactly against the other side's factors.

Row u, with its observations i ∈ Ω_u and the fixed side's rows y_i (`objective.py` has w, s and Λ):

    lhs = α₀ G + Σ w_ui y_i y_iᵀ + Λ_u I        rhs = Σ s_ui y_i        x_u = lhs⁻¹ rhs

The loss comes out of the same pass: with the row just solved, Σ_Ω (w ŷ² − 2 s ŷ) = xᵀ(lhs − α₀G − Λ)x − 2 xᵀrhs.
With biases one coordinate h of x_u is held at 1 and carries no Λ: the others solve lhs without its row and column,
with lhs[:, h] taken from rhs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.cholesky import cholesky_solve, first_indefinite
from wals_spark.gramian import gramian
from wals_spark.histogram import Histogram
from wals_spark.nonnegative import nonnegative_solve
from wals_spark.objective import Objective
from wals_spark.weighing import WeighedBlock

Matrix = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]

_BATCH_BYTES = 8 * 1024 * 1024  # of gathered rows, and of lhs: about what a core's caches hold
_MAX_PADDING = 1.25  # longest row of a batch, over its shortest


class SolvedRows(NamedTuple):
    """What a task gives back for its block; ``failed_row`` is -1 where all is well."""

    factors: Factors  # (n_rows, width)
    summary: BlockSummary


@dataclass(frozen=True)
class BlockSummary:
    """What the driver needs of a block, independent of its number of rows.

    ``observed`` and ``penalty`` are the block's parts of the loss, ``gramian`` (width, width) its part of the
    solved side's Gramian. ``failed_row`` is the first row that has no finite solution, -1 if all have. At the start,
    ``weights`` are the confidences of the block's observations.
    """

    rows: int
    observed: float
    penalty: float
    gramian: Matrix
    failed_row: int = -1
    failure: str = ""
    weights: Histogram | None = None


def solve_rows(block: WeighedBlock, received: Factors, fixed_gramian: Matrix, objective: Objective) -> SolvedRows:
    """Solve every row of a block exactly, in float64, and store it as float32.

    With ``objective.nonnegative`` a row is the exact minimum over x ≥ 0.

    Parameters
    ----------
    received : float32, shape (n_received, width)
        The fixed side's rows that ``block.positions`` points into; width is the rank, or with biases two more.
    fixed_gramian : float64, shape (width, width)
        Of *all* rows of the fixed side, those not received included.
    """
    width = fixed_gramian.shape[0]
    free = _free(width, objective)
    factors = np.ones((block.n_rows, width), dtype=np.float32)  # what is held stays 1
    unobserved = objective.unobserved_weight * fixed_gramian
    fit = 0.0  # Σ over rows of xᵀ lhs x − 2 xᵀ rhs + Σ k
    for rows in _batches(block.counts, width):
        lhs, rhs, constant = _normal_equations(block, rows, received, objective.carried)
        lhs += unobserved
        lhs[:, free, free] += block.regularization[rows, None]
        system = (lhs, rhs)
        if objective.held is not None:
            system = (lhs[:, free[:, None], free], rhs[:, free] - lhs[:, free, objective.held])
        try:
            solution = (nonnegative_solve if objective.nonnegative else cholesky_solve)(*system)
        except np.linalg.LinAlgError:
            return _failed(factors, int(rows[first_indefinite(system[0])]), "its normal equations are singular")
        factors[rows[:, None], free] = solution
        x = factors[rows].astype(np.float64)  # the loss is of the factors as stored
        if not np.isfinite(x).all():
            bad = int(rows[np.flatnonzero(~np.isfinite(x).all(axis=1))[0]])
            return _failed(factors, bad, "its factors are not finite")
        fit += constant + float(np.einsum("bi,bij,bj->", x, lhs, x, optimize=True) - 2.0 * np.vdot(x, rhs))
    solved_gramian = gramian(factors)
    penalty = _penalty(block, factors[:, free])
    observed = fit - float(np.vdot(solved_gramian, unobserved)) - penalty
    return SolvedRows(factors, BlockSummary(block.n_rows, observed, penalty, solved_gramian))


def summarize_start(factors: Factors, block: WeighedBlock, objective: Objective) -> BlockSummary:
    """The summary of rows that nobody solved yet: their Gramian, penalty and weights, no observed loss."""
    penalty = _penalty(block, factors[:, _free(factors.shape[1], objective)])
    weights = Histogram.of(block.curvature + objective.carried)
    return BlockSummary(len(factors), 0.0, penalty, gramian(factors), weights=weights)


def _free(width: int, objective: Objective) -> npt.NDArray[np.int64]:
    """The coordinates that are solved for: all but the one that is held."""
    return np.array([k for k in range(width) if k != objective.held])


def _penalty(block: WeighedBlock, free_factors: Factors) -> float:
    """``Σ_u Λ_u |x_u|²``."""
    return float(block.regularization @ np.einsum("ui,ui->u", free_factors, free_factors, dtype=np.float64))


def _failed(factors: Factors, row: int, failure: str) -> SolvedRows:
    width = factors.shape[1]
    return SolvedRows(factors, BlockSummary(len(factors), 0.0, 0.0, np.zeros((width, width)), row, failure))


def _batches(counts: npt.NDArray[np.int64], width: int) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of similar length together, so that a batch is one padded array that wastes little."""
    order = np.argsort(counts, kind="stable")
    lengths = counts[order]
    begin = 0
    while begin < len(order):
        shortest = max(1, int(lengths[begin]))
        end = int(np.searchsorted(lengths, shortest * _MAX_PADDING, side="right"))
        longest = max(width, int(lengths[end - 1]))
        end = min(end, begin + max(1, _BATCH_BYTES // (8 * width * longest)))
        yield order[begin:end]
        begin = end


def _normal_equations(
    block: WeighedBlock, rows: npt.NDArray[np.int64], received: Factors, carried: float
) -> tuple[Matrix, Matrix, float]:
    """``Σ w y yᵀ`` (n, f, f), ``Σ s y`` (n, f) and ``Σ k`` over the rows' observations.

    A row with more observations than fit into a batch is summed in several steps: nobody's history is too long.
    """
    width = received.shape[1]
    begin, counts = block.indptr[rows], block.counts[rows]
    lhs = np.zeros((len(rows), width, width))
    rhs = np.zeros((len(rows), width))
    constant = 0.0
    step = max(1, _BATCH_BYTES // (8 * width * len(rows)))
    for offset in range(0, int(counts.max()), step):
        column = np.arange(offset, min(offset + step, int(counts.max())))  # (n_padded,)
        present = column < counts[:, None]  # (n, n_padded)
        entry = np.where(present, begin[:, None] + column, 0)
        curvature = np.where(present, block.curvature[entry], 0.0).astype(np.float64)
        target = block.target[entry].astype(np.float64)
        pull = np.where(present, (curvature + carried) * target, 0.0)
        fixed = received[block.positions[entry]].astype(np.float64)  # (n, n_padded, f)
        transposed = fixed.transpose(0, 2, 1)
        lhs += (transposed * curvature[:, None, :]) @ fixed
        rhs += (transposed @ pull[:, :, None])[:, :, 0]
        constant += float(np.vdot(pull, target))
    return lhs, rhs, constant
