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
import numpy.typing as npt

from wals_spark.batches import batches, chunks, slices
from wals_spark.coding import times_each
from wals_spark.kernels import compiled_loops
from wals_spark.objective import Objective
from wals_spark.weighing import WeighedBlock

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]

# Steps end where float32 has no more digits: of the residual, against the row, in the preconditioner's norm.
_TOLERANCE = 1e-6
# What a verified row may be off: the loss then is off by no more than the square of it.
_EXACT_TOLERANCE = 1e-5
_MOST_STEPS, _MOST_ATTEMPTS = 100, 3


def improve_rows(
    block: WeighedBlock,
    received: Floats,
    fixed_gramian: Doubles,
    objective: Objective,
    start: Floats | None,
    steps: int,
    *,
    compiled: bool = True,
    overwrite_received: bool = False,
) -> tuple[Floats, float, float, int]:
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
    loops = compiled_loops() if compiled else None
    if loops:
        none = np.empty(0, dtype=bool)
        fit, gain, failed_row = loops.conjugate_gradient_rows(*turned.system, steps, _TOLERANCE, 0, none)
    else:
        fit, gain, failed_row = numpy_rows(*turned.system, steps, _TOLERANCE)
    return turned.factors(), fit + turned.constant(block), gain, failed_row


def converge_rows(
    block: WeighedBlock,
    received: Floats,
    fixed_gramian: Doubles,
    objective: Objective,
    start: Floats | None,
    *,
    overwrite_received: bool = False,
) -> tuple[Floats, float, float, npt.NDArray[np.int64]] | None:
    """Take steps until each row is verified to be 1e-5 from its exact solution, in the norm of its lhs.

    Parameters and the first three results are those of `improve_rows`. The fourth are the rows that float32 cannot
    bring there, ascending; ``fit`` and ``gain`` leave them out. If there are such, ``received`` is as it was, if
    overwritten then to float32's rounding. None where nothing can be verified: without compiled loops, or with
    observations that weigh less than unobserved pairs.
    """
    loops = compiled_loops()
    if loops is None or not (block.curvature >= 0).all():
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
        block: WeighedBlock,
        received: Floats,
        fixed_gramian: Doubles,
        objective: Objective,
        start: Floats | None,
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
            block.codes,
            block.curvature,
            block.target,
            objective.carried,
            self.received,
            self.shift,
            toward.astype(np.float32),
            diagonal.astype(np.float32),
            block.regularization,
            self.solution,
        )

    def factors(self) -> Floats:
        """The rows as they are solved by now, turned back, in the place of ``solution``; what is held is 1."""
        _turn(self.solution, self.turn.T)
        if self.objective.held is None:
            return self.solution
        factors = np.ones((len(self.solution), len(self.unobserved)), dtype=np.float32)
        factors[:, self.free] = self.solution
        return factors

    def constant(self, block: WeighedBlock) -> float:
        """What does not depend on the free coordinates: ``Σ_Ω (w h² − 2 s h + k) + α₀G[h, h]`` for each row."""
        w, t = block.curvature.astype(np.float64), block.target.astype(np.float64)  # of each distinct pair
        pull = (w + self.objective.carried) * t
        constant = float((pull * t) @ times_each(block.codes, len(w)))
        held = self.objective.held
        if held is None:
            return constant
        h = self.shift[block.positions].astype(np.float64)
        of_observed = float(w[block.codes] @ h**2 - 2.0 * pull[block.codes] @ h) + constant
        return of_observed + block.n_rows * float(self.unobserved[held, held])


def _turn(rows: Floats, turn: Floats) -> None:
    """``rows @ turn``, where the rows lie."""
    for some in slices(len(rows)):
        rows[some] = rows[some] @ turn


def _without_held(factors: Floats, held: int | None) -> Floats:
    return factors if held is None else np.delete(factors, held, axis=1)


def numpy_rows(
    indptr: npt.NDArray[np.int64],
    positions: Ints,
    codes: Ints,
    curvature: Floats,
    target: Floats,
    carried: float,
    received: Floats,
    shift: Floats,
    toward: Floats,
    diagonal: Floats,
    regularization: Doubles,
    solution: Floats,
    steps: int,
    tolerance: float,
) -> tuple[float, float, int]:
    """Improve ``solution`` in place; ``Σ (xᵀ lhs x − 2 xᵀ rhs)``, what it lost, and the first row that failed, or -1.

    Rows of similar length are one padded batch.
    """
    fit = gain = 0.0
    pull = (curvature + np.float32(carried)) * target
    for rows in batches(np.diff(indptr), received.shape[1]):
        x = solution[rows]
        lhs_diagonal = diagonal + regularization[rows, None].astype(np.float32)
        observed = []  # by chunk: y, w and s
        for entry, present in chunks(indptr, rows, received.shape[1]):
            w = np.where(present, curvature[codes[entry]], np.float32(0))
            s = np.where(present, pull[codes[entry]], np.float32(0))
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


def improve_summed(
    lhs: Doubles, rhs: Doubles, fixed_gramian: Doubles, start: Floats | None, steps: int
) -> tuple[Doubles, int]:
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
) -> tuple[Any, float, npt.NDArray[np.bool_]]:
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


def _times(lhs_diagonal: Floats, observed: list[tuple[Floats, Floats, Floats]], p: Floats) -> Floats:
    """``lhs p`` of a batch."""
    product = lhs_diagonal * p
    for y, w, _ in observed:
        product += np.einsum("bn,bnf->bf", w * np.einsum("bnf,bf->bn", y, p), y)
    return product
