"""A block's rows improved by a few preconditioned conjugate gradient steps, in the Gramian's own coordinates.

Every row of a half-iteration has the same α₀G in its lhs. With G = V diag(g) Vᵀ and all rows of the fixed side turned
to ỹ = Vᵀy once, a row is

    lhs = diag(α₀g + Λ_u) + Σ w ỹ ỹᵀ        rhs = Σ s ỹ

so a step costs 4 f for each observation and nothing of f², and the diagonal of lhs is a good preconditioner: popular
directions are popular among any row's items. Steps start from the row as it stands (Takács, Pilászy and Tikk, RecSys
2011; docs/adr/0009 has what three of them reach beside the exact solution).

With biases, coordinate h of the solved row is held at 1. The others are turned; what h adds to a score is a known
number of each fixed row, the ``shift``, and α₀G[:, h] goes to the right-hand side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from wals_spark.arrays.batching import length_batches, observation_chunks, row_slices
from wals_spark.arrays.dictionary import count_indices
from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.objective.objective import Objective
from wals_spark.solvers.kernels import numba_kernels

# Steps end where float32 has no more digits: of the residual, against the row, in the preconditioner's norm.
_TOLERANCE = 1e-6
# What a verified row may be off: the loss then is off by no more than the square of it.
_EXACT_TOLERANCE = 1e-5
_MOST_STEPS, _MOST_ATTEMPTS = 100, 3


def improve_rows(
    block: WeightedBlock,
    received: Float32Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    start: Float32Array | None,
    steps: int,
    *,
    compiled: bool = True,
    overwrite_received: bool = False,
) -> tuple[Float32Array, float, float, int]:
    """Take ``steps`` steps from ``start`` towards every row's exact solution.

    Parameters
    ----------
    received : float32, shape (n_received, width)
    fixed_gramian : float64, shape (width, width)
    start : float32, shape (n_rows, width)
        The rows as they stand; none: from zero.
    compiled : bool
        Whether to take the compiled loops where there are any.
    overwrite_received : bool
        Whether ``received`` may be turned where it lies: a copy is as large as it is.

    Returns
    -------
    factors : float32, shape (n_rows, width)
    fit : float
        ``Σ (xᵀ lhs x − 2 xᵀ rhs) + Σ k`` over the rows, to float32's precision.
    gain : float
        By how much ``fit`` was larger at the start.
    failed_row : int
        The first row whose lhs is not positive definite, or -1.
    """
    turned = _Turned(block, received, fixed_gramian, objective, start, overwrite=overwrite_received)
    loops = numba_kernels() if compiled else None
    if loops:
        none = np.empty(0, dtype=bool)
        fit, gain, failed_row = loops.conjugate_gradient_rows(*turned.system, steps, _TOLERANCE, 0, none)
    else:
        fit, gain, failed_row = numpy_rows(*turned.system, steps, _TOLERANCE)
    return turned.factors(), fit + turned.constant(block), gain, failed_row


def converge_rows(
    block: WeightedBlock,
    received: Float32Array,
    fixed_gramian: Float64Array,
    objective: Objective,
    start: Float32Array | None,
    *,
    overwrite_received: bool = False,
) -> tuple[Float32Array, float, float, Int64Array] | None:
    """Take steps until each row is verified to be 1e-5 from its exact solution, in the norm of its lhs.

    Parameters and the first three results are those of `improve_rows`. The fourth are the rows that float32 cannot
    bring there, ascending; ``fit`` and ``gain`` leave them out. If there are such, ``received`` is as it was, if
    overwritten then to float32's rounding. None where nothing can be verified: without compiled loops, or with
    observations that weigh less than unobserved pairs.
    """
    loops = numba_kernels()
    if loops is None or not (block.excess_weight >= 0).all():
        return None
    turned = _Turned(block, received, fixed_gramian, objective, start, overwrite=overwrite_received)
    verified = np.zeros(block.n_rows, dtype=bool)
    limits = (_MOST_STEPS, _EXACT_TOLERANCE, _MOST_ATTEMPTS)
    fit, gain, _ = loops.conjugate_gradient_rows(*turned.system, *limits, verified)
    rest = np.flatnonzero(~verified)
    whole = block if not len(rest) else block.only(np.flatnonzero(verified))
    converged = turned.factors(), fit + turned.constant(whole), gain, rest
    if len(rest) and turned.received is received:
        _turn(received, turned.turn.T)
    return converged


class _Turned:
    """A block's systems in the Gramian's coordinates, and the way back."""

    def __init__(
        self,
        block: WeightedBlock,
        received: Float32Array,
        fixed_gramian: Float64Array,
        objective: Objective,
        start: Float32Array | None,
        *,
        overwrite: bool,
    ) -> None:
        held = objective.held
        self.objective = objective
        self.free = free = objective.free(fixed_gramian.shape[0])
        self.unobserved = objective.unobserved_weight * fixed_gramian
        diagonal, turn = np.linalg.eigh(fixed_gramian[np.ix_(free, free)])
        diagonal = objective.unobserved_weight * np.maximum(diagonal, 0.0)
        self.turn = turn.astype(np.float32)
        self.shift, toward = np.empty(0, dtype=np.float32), np.zeros(len(free))
        if held is not None:
            self.shift, toward = np.ascontiguousarray(received[:, held]), -self.unobserved[free, held] @ turn
        self.received = _without_held(received, held)
        if self.received is received and not overwrite:
            self.received = received @ self.turn
        else:
            _turn(self.received, self.turn)
        self.solution = np.zeros((block.n_rows, len(free)), dtype=np.float32)
        if start is not None:
            self.solution = _without_held(start, held) @ self.turn
        self.system = (
            block.indptr,
            block.positions,
            block.indices,
            block.excess_weight,
            block.target,
            objective.unobserved_weight_in_confidence,
            self.received,
            self.shift,
            toward.astype(np.float32),
            diagonal.astype(np.float32),
            block.regularization,
            self.solution,
        )

    def factors(self) -> Float32Array:
        """The rows as they are solved by now, turned back, in the place of ``solution``; what is held is 1."""
        _turn(self.solution, self.turn.T)
        if self.objective.held is None:
            return self.solution
        factors = np.ones((len(self.solution), len(self.unobserved)), dtype=np.float32)
        factors[:, self.free] = self.solution
        return factors

    def constant(self, block: WeightedBlock) -> float:
        """What does not depend on the free coordinates: ``Σ_Ω (w h² − 2 s h + k) + α₀G[h, h]`` for each row."""
        w, t = block.excess_weight.astype(np.float64), block.target.astype(np.float64)  # of each distinct pair
        pull = (w + self.objective.unobserved_weight_in_confidence) * t
        constant = float((pull * t) @ count_indices(block.indices, len(w)))
        held = self.objective.held
        if held is None:
            return constant
        h = self.shift[block.positions].astype(np.float64)
        of_observed = float(w[block.indices] @ h**2 - 2.0 * pull[block.indices] @ h) + constant
        return of_observed + block.n_rows * float(self.unobserved[held, held])


def _turn(rows: Float32Array, turn: Float32Array) -> None:
    """``rows @ turn``, where the rows lie."""
    for some in row_slices(len(rows)):
        rows[some] = rows[some] @ turn


def _without_held(factors: Float32Array, held: int | None) -> Float32Array:
    return factors if held is None else np.delete(factors, held, axis=1)


def numpy_rows(
    indptr: Int64Array,
    positions: Indices,
    indices: Indices,
    excess_weight: Float32Array,
    target: Float32Array,
    unobserved_weight_in_confidence: float,
    received: Float32Array,
    shift: Float32Array,
    toward: Float32Array,
    diagonal: Float32Array,
    regularization: Float64Array,
    solution: Float32Array,
    steps: int,
    tolerance: float,
) -> tuple[float, float, int]:
    """Improve ``solution`` in place; ``Σ (xᵀ lhs x − 2 xᵀ rhs)``, what it lost, and the first row that failed, or -1.

    Rows of similar length are one padded batch.
    """
    fit = gain = 0.0
    pull = (excess_weight + np.float32(unobserved_weight_in_confidence)) * target
    for rows in length_batches(np.diff(indptr), received.shape[1]):
        x = solution[rows]
        lhs_diagonal = diagonal + regularization[rows, None].astype(np.float32)
        observed = []  # by chunk: y, w and s
        for entry, present in observation_chunks(indptr, rows, received.shape[1]):
            w = np.where(present, excess_weight[indices[entry]], np.float32(0))
            s = np.where(present, pull[indices[entry]], np.float32(0))
            if len(shift):
                s = s - w * shift[positions[entry]]
            observed.append((received[positions[entry]], w, s))
        b = toward + sum((np.einsum("bn,bnf->bf", s, y) for y, _, s in observed), np.zeros_like(x))
        whole_diagonal = lhs_diagonal + sum(np.einsum("bn,bnf,bnf->bf", w, y, y, optimize=True) for y, w, _ in observed)
        r, gained, failed = _descend(partial(_times, lhs_diagonal, observed), b, x, whole_diagonal, steps, tolerance)
        gain += gained
        if failed.any():
            return fit, gain, int(rows[failed].min())
        solution[rows] = x
        fit -= float(np.einsum("bf,bf->", x, b + r, dtype=np.float64))
    return fit, gain, -1


def improve_dense(
    lhs: Float64Array, rhs: Float64Array, fixed_gramian: Float64Array, start: Float32Array | None, steps: int
) -> tuple[Float64Array, int]:
    """The steps of `improve_rows` for systems (n, f, f) and (n, f) that are summed already, in float64.

    They are taken in the same coordinates, so a row comes out alike whether its observations lie in its block or are
    summed elsewhere. ``fixed_gramian`` and ``start`` are of the free coordinates alone, as the systems are.

    Returns
    -------
    rows : float64, shape (n, f)
    failed_row : int
        The first whose lhs is not positive definite, or -1.
    """
    _, turn = np.linalg.eigh(fixed_gramian)
    lhs, rhs = turn.T @ lhs @ turn, rhs @ turn
    x = np.zeros_like(rhs) if start is None else start @ turn
    times = partial(np.einsum, "bfg,bg->bf", lhs)
    _, _, failed = _descend(times, rhs, x, np.einsum("bff->bf", lhs), steps, _TOLERANCE)
    return x @ turn.T, int(np.flatnonzero(failed)[0]) if failed.any() else -1


def _descend(
    times: Callable[[Any], Any], b: Any, x: Any, whole_diagonal: Any, steps: int, tolerance: float
) -> tuple[Any, float, BoolArray]:
    """Improve ``x`` (n, f) in place, with ``times`` for ``lhs p`` and the diagonal of lhs as preconditioner.

    The residual, what was gained, and which rows failed: their lhs is not positive definite. After a failure the rest
    is not to be used.
    """
    lhs_x = times(x)
    failed = ~(whole_diagonal > 0.0).all(axis=1)
    if failed.any():
        return lhs_x, 0.0, failed
    inverse = 1.0 / whole_diagonal
    r = b - lhs_x
    p = inverse * r
    rz = np.einsum("bf,bf->b", r, p)
    energy, toward_b = np.einsum("bf,bf->b", x, lhs_x), np.einsum("bf,bf->b", x, b)
    size = np.where(energy > 0.0, toward_b**2 / np.where(energy > 0.0, energy, 1.0), 0.0)  # no more than bᵀ lhs⁻¹ b
    enough = tolerance**2 * np.maximum(size, rz)
    active = ~(rz <= enough)
    gain = 0.0
    for _ in range(steps):
        if not active.any():
            break
        q = times(p)
        pq = np.einsum("bf,bf->b", p, q)
        failed = active & ~(pq > 0.0)
        if failed.any():
            break
        length = np.where(active, rz / np.where(active, pq, 1.0), 0.0).astype(x.dtype)[:, None]
        x += length * p
        r -= length * q
        gain += float(np.vdot(length[:, 0], rz))
        before, rz = rz, np.where(active, np.einsum("bf,bf,bf->b", r, inverse, r), rz)
        ratio = np.where(active, rz / np.where(active, before, 1.0), 0.0).astype(x.dtype)
        p = inverse * r + ratio[:, None] * p
        active &= ~(rz <= enough)
    return r, gain, failed


def _times(
    lhs_diagonal: Float32Array, observed: list[tuple[Float32Array, Float32Array, Float32Array]], p: Float32Array
) -> Float32Array:
    """``lhs p`` of a batch."""
    product = lhs_diagonal * p
    for y, w, _ in observed:
        product += np.einsum("bn,bnf->bf", w * np.einsum("bnf,bf->bn", y, p), y)
    return product
