"""One block's share of a half-iteration: its rows solved exactly against the other side's factors.

Row u, with its observations i ∈ Ω_u and the fixed side's rows y_i (`objective.py` has w and s):

    lhs = α₀ G + Σ w_ui y_i y_iᵀ + Λ_u I        rhs = Σ s_ui y_i        x_u = lhs⁻¹ rhs

The loss comes out of the same pass: with the row just solved, Σ_Ω (w ŷ² − 2 s ŷ) = xᵀ(lhs − α₀G − Λ)x − 2 xᵀrhs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.blocks import InBlock
from wals_spark.cholesky import cholesky_solve, first_indefinite
from wals_spark.gramian import gramian
from wals_spark.nonnegative import nonnegative_solve
from wals_spark.objective import Objective

Matrix = npt.NDArray[np.float64]
Factors = npt.NDArray[np.float32]

_BATCH_BYTES = 8 * 1024 * 1024  # of gathered rows, and of lhs: about what a core's caches hold
_MAX_PADDING = 1.25  # longest row of a batch, over its shortest


class SolvedRows(NamedTuple):
    """What a task gives back for its block; ``failed_row`` is -1 where all is well."""

    factors: Factors  # (n_rows, rank)
    summary: BlockSummary


@dataclass(frozen=True)
class BlockSummary:
    """What the driver needs of a block, independent of its number of rows.

    ``observed`` and ``penalty`` are the block's parts of the loss, ``gramian`` (rank, rank) its part of the
    solved side's Gramian. ``failed_row`` is the first row that has no finite solution, -1 if all have.
    """

    rows: int
    observed: float
    penalty: float
    gramian: Matrix
    failed_row: int = -1
    failure: str = ""


def solve_rows(in_block: InBlock, received: Factors, fixed_gramian: Matrix, objective: Objective) -> SolvedRows:
    """Solve every row of a block exactly, in float64, and store it as float32.

    With ``objective.nonnegative`` a row is the exact minimum over x ≥ 0.

    Parameters
    ----------
    received : float32, shape (n_received, rank)
        The fixed side's rows that ``in_block.positions`` points into.
    fixed_gramian : float64, shape (rank, rank)
        Of *all* rows of the fixed side, those not received included.
    """
    rank = fixed_gramian.shape[0]
    factors = np.zeros((in_block.n_rows, rank), dtype=np.float32)
    regularization = _diagonal(in_block, objective)
    unobserved = objective.unobserved_weight * fixed_gramian
    fit = 0.0  # Σ over rows of xᵀ lhs x − 2 xᵀ rhs + Σ k
    for rows in _batches(in_block.counts, rank):
        lhs, rhs, constant = _normal_equations(in_block, rows, received, objective)
        lhs += unobserved
        lhs[:, np.arange(rank), np.arange(rank)] += regularization[rows, None]
        try:
            factors[rows] = (nonnegative_solve if objective.nonnegative else cholesky_solve)(lhs, rhs)
        except np.linalg.LinAlgError:
            return _failed(factors, int(rows[first_indefinite(lhs)]), "its normal equations are singular")
        x = factors[rows].astype(np.float64)  # the loss is of the factors as stored
        if not np.isfinite(x).all():
            bad = int(rows[np.flatnonzero(~np.isfinite(x).all(axis=1))[0]])
            return _failed(factors, bad, "its factors are not finite")
        fit += constant + float(np.einsum("bi,bij,bj->", x, lhs, x, optimize=True) - 2.0 * np.vdot(x, rhs))
    solved_gramian = gramian(factors)
    penalty = _penalty(regularization, factors)
    observed = fit - float(np.vdot(solved_gramian, unobserved)) - penalty
    return SolvedRows(factors, BlockSummary(in_block.n_rows, observed, penalty, solved_gramian))


def summarize_start(factors: Factors, in_block: InBlock, objective: Objective) -> BlockSummary:
    """The summary of rows that nobody solved yet: their Gramian and penalty, no observed loss."""
    penalty = _penalty(_diagonal(in_block, objective), factors)
    return BlockSummary(len(factors), 0.0, penalty, gramian(factors))


def _penalty(diagonal: npt.NDArray[np.float64], factors: Factors) -> float:
    """``Σ_u Λ_u |x_u|²``."""
    return float(diagonal @ np.einsum("ui,ui->u", factors, factors, dtype=np.float64))


def _diagonal(in_block: InBlock, objective: Objective) -> npt.NDArray[np.float64]:
    """``Λ`` of each row, shape (n_rows,); a dislike (target 0) is not counted, as in MLlib."""
    counts = in_block.counts
    if objective.target == "preference" and in_block.n_rows:
        counts = np.add.reduceat(in_block.ratings > 0, in_block.indptr[:-1], dtype=np.int64)
    return objective.regularization(counts)


def _failed(factors: Factors, row: int, failure: str) -> SolvedRows:
    rank = factors.shape[1]
    return SolvedRows(factors, BlockSummary(len(factors), 0.0, 0.0, np.zeros((rank, rank)), row, failure))


def _batches(counts: npt.NDArray[np.int64], rank: int) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of similar length together, so that a batch is one padded array that wastes little."""
    order = np.argsort(counts, kind="stable")
    lengths = counts[order]
    begin = 0
    while begin < len(order):
        shortest = max(1, int(lengths[begin]))
        end = int(np.searchsorted(lengths, shortest * _MAX_PADDING, side="right"))
        longest = max(rank, int(lengths[end - 1]))
        end = min(end, begin + max(1, _BATCH_BYTES // (8 * rank * longest)))
        yield order[begin:end]
        begin = end


def _normal_equations(
    in_block: InBlock, rows: npt.NDArray[np.int64], received: Factors, objective: Objective
) -> tuple[Matrix, Matrix, float]:
    """``Σ w y yᵀ`` (n, f, f), ``Σ s y`` (n, f) and ``Σ k`` over the rows' observations.

    A row with more observations than fit into a batch is summed in several steps: nobody's history is too long.
    """
    rank = received.shape[1]
    begin, counts = in_block.indptr[rows], in_block.counts[rows]
    lhs = np.zeros((len(rows), rank, rank))
    rhs = np.zeros((len(rows), rank))
    constant = 0.0
    step = max(1, _BATCH_BYTES // (8 * rank * len(rows)))
    for offset in range(0, int(counts.max()), step):
        column = np.arange(offset, min(offset + step, int(counts.max())))  # (n_padded,)
        present = column < counts[:, None]  # (n, n_padded)
        entry = np.where(present, begin[:, None] + column, 0)
        terms = objective.observed_terms(in_block.ratings[entry])
        fixed = received[in_block.positions[entry]].astype(np.float64)  # (n, n_padded, f)
        transposed = fixed.transpose(0, 2, 1)
        lhs += (transposed * np.where(present, terms.curvature, 0.0)[:, None, :]) @ fixed
        rhs += (transposed @ np.where(present, terms.pull, 0.0)[:, :, None])[:, :, 0]
        constant += float(terms.constant.sum(where=present))
    return lhs, rhs, constant
