"""The rows of a block improved by a few preconditioned conjugate gradient steps.

Steps are taken in the eigenbasis of the Gramian (`rotation.py`), where a step is cheap and the diagonal of lhs is a
good preconditioner: popular directions are popular among the items of any row. They start from the current factors
(Takács, Pilászy and Tikk, RecSys 2011; docs/adr/0009 has what three of them reach beside the exact solution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from wals_spark.arrays.batching import length_batches, observation_chunks
from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Int64Array
from wals_spark.solvers.kernels import numba_kernels
from wals_spark.solvers.rotation import RotatedRows, rotate
from wals_spark.solvers.systems import LeastSquares, RotatedSystem, Solution

# Steps end where float32 has no more digits: of the residual, relative to the row, in the norm of the preconditioner.
_TOLERANCE = 1e-6
# The error that a verified row may have; the loss is then off by no more than its square.
_EXACT_TOLERANCE = 1e-5
_MAX_STEPS, _MAX_ATTEMPTS = 100, 3


def improve_rows(
    problem: LeastSquares,
    current: Float32Array | None,
    steps: int,
    *,
    compiled: bool = True,
    overwrite_received: bool = False,
) -> Solution:
    """Take ``steps`` steps from the current factors towards the exact solution of every row.

    The objective value is to float32's precision; a row fails if its lhs is not positive definite.

    Parameters
    ----------
    current : float32, shape (n_rows, width)
        The current factors; none: steps start from zero.
    compiled : bool
        Whether to use the compiled kernel where Numba is installed.
    overwrite_received : bool
        Whether the received rows may be rotated in place: a copy takes as much memory as they do.
    """
    rotated = RotatedRows.of(problem, current, overwrite_received=overwrite_received)
    kernels = numba_kernels() if compiled else None
    improve: Callable[..., tuple[float, float, int]]
    if kernels:
        none_verified = np.empty(0, dtype=bool)
        improve = partial(kernels.conjugate_gradient_rows, attempts=0, verified=none_verified)
    else:
        improve = numpy_rows
    value, decrease, failed_row = improve(rotated.system, rotated.solution, steps=steps, tolerance=_TOLERANCE)
    return Solution(rotated.rotate_back(), value + rotated.constant(problem.block), decrease, failed_row)


def converge_rows(
    problem: LeastSquares, current: Float32Array | None, *, overwrite_received: bool = False
) -> tuple[Solution, Int64Array] | None:
    """Take steps until each row is verified to be 1e-5 from its exact solution, in the norm of its lhs.

    Parameters are those of `improve_rows`. The second result are the rows that float32 cannot bring there, ascending;
    the objective value and its decrease leave them out. If there are such rows, the received rows are as they were; if
    they were overwritten, up to the rounding of float32. None where nothing can be verified: without compiled kernels,
    or with observations that weigh less than unobserved pairs.
    """
    block, kernels = problem.block, numba_kernels()
    if kernels is None or not (block.excess_weight >= 0).all():
        return None
    rotated = RotatedRows.of(problem, current, overwrite_received=overwrite_received)
    verified = np.zeros(block.n_rows, dtype=bool)
    value, decrease, _ = kernels.conjugate_gradient_rows(
        rotated.system,
        rotated.solution,
        steps=_MAX_STEPS,
        tolerance=_EXACT_TOLERANCE,
        attempts=_MAX_ATTEMPTS,
        verified=verified,
    )
    unverified = np.flatnonzero(~verified)
    counted = block if not len(unverified) else block.only(np.flatnonzero(verified))
    solution = Solution(rotated.rotate_back(), value + rotated.constant(counted), decrease, -1)
    if len(unverified) and rotated.system.observations.received is problem.received:
        rotate(problem.received, rotated.rotation.T)
    return solution, unverified


def numpy_rows(system: RotatedSystem, solution: Float32Array, steps: int, tolerance: float) -> tuple[float, float, int]:
    """Improve ``solution`` (n_rows, f) in place.

    Returns ``Σ (xᵀ lhs x − 2 xᵀ rhs)``, its decrease, and the first row that failed, or -1. Rows of similar length are
    one padded batch.
    """
    observations, f = system.observations, solution.shape[1]
    w_of_pairs, in_confidence = observations.excess_weight, np.float32(observations.unobserved_weight_in_confidence)
    s_of_pairs = (w_of_pairs + in_confidence) * observations.target  # (n_distinct,)
    value = decrease = 0.0
    for rows in length_batches(np.diff(observations.indptr), f):
        x = solution[rows]
        lhs_diagonal = system.diagonal + system.regularization[rows, None].astype(np.float32)
        chunks = list(_gather(system, s_of_pairs, rows))
        b = system.rhs_constant + sum((np.einsum("bn,bnf->bf", s, y) for y, _, s in chunks), np.zeros_like(x))
        diagonal = lhs_diagonal + sum(np.einsum("bn,bnf,bnf->bf", w, y, y, optimize=True) for y, w, _ in chunks)
        multiply = partial(_multiply, lhs_diagonal, chunks)
        r, batch_decrease, failed = _descend(multiply, b, x, diagonal, steps, tolerance)
        decrease += batch_decrease
        if failed.any():
            return value, decrease, int(rows[failed].min())
        solution[rows] = x
        value -= float(np.einsum("bf,bf->", x, b + r, dtype=np.float64))
    return value, decrease, -1


class _Chunk(NamedTuple):
    """Observations of a batch of n rows, padded: y (n, n_padded, f), w and s (n, n_padded), 0 where it is padding."""

    y: Float32Array
    w: Float32Array
    s: Float32Array


def _gather(system: RotatedSystem, s_of_pairs: Float32Array, rows: Int64Array) -> Iterator[_Chunk]:
    """The observations of a batch; ``s_of_pairs`` (n_distinct,) are s before the shift."""
    observations = system.observations
    for entry, present in observation_chunks(observations.indptr, rows, observations.received.shape[1]):
        positions, indices = observations.positions[entry], observations.indices[entry]
        w = np.where(present, observations.excess_weight[indices], np.float32(0))
        s = np.where(present, s_of_pairs[indices], np.float32(0))
        if len(system.shift):
            s = s - w * system.shift[positions]
        yield _Chunk(observations.received[positions], w, s)


def _multiply(lhs_diagonal: Float32Array, chunks: list[_Chunk], p: Float32Array) -> Float32Array:
    """``lhs p`` for the rows of a batch, shape (n, f)."""
    product = lhs_diagonal * p
    for y, w, _ in chunks:
        product += np.einsum("bn,bnf->bf", w * np.einsum("bnf,bf->bn", y, p), y)
    return product


def improve_dense(
    lhs: Float64Array, rhs: Float64Array, fixed_gramian: Float64Array, current: Float32Array | None, steps: int
) -> tuple[Float64Array, int]:
    """The steps of `improve_rows` for systems (n, f, f) and (n, f) that are summed already, in float64.

    They are taken in the same coordinates, so a row is solved alike whether its observations are in its block or its
    sums come from other blocks. ``fixed_gramian`` and ``current`` have the free coordinates only, as the systems do.

    Returns
    -------
    rows : float64, shape (n, f)
    failed_row : int
        The first row whose lhs is not positive definite, or -1.
    """
    _, rotation = np.linalg.eigh(fixed_gramian)
    lhs, rhs = rotation.T @ lhs @ rotation, rhs @ rotation
    x = np.zeros_like(rhs) if current is None else current @ rotation
    multiply = partial(np.einsum, "bfg,bg->bf", lhs)
    _, _, failed = _descend(multiply, rhs, x, np.einsum("bff->bf", lhs), steps, _TOLERANCE)
    return x @ rotation.T, int(np.flatnonzero(failed)[0]) if failed.any() else -1


def _descend(
    multiply: Callable[[Any], Any], b: Any, x: Any, diagonal: Any, steps: int, tolerance: float
) -> tuple[Any, float, BoolArray]:
    """Improve ``x`` (n, f) in place; ``multiply`` is ``lhs p``, and ``diagonal`` of lhs the preconditioner.

    Returns the residual, the decrease of the objective value, and which rows failed because their lhs is not positive
    definite. After a failure the other results are of no use. Symbols are those of `numba_kernels.py`.
    """
    lhs_x = multiply(x)
    failed = ~(diagonal > 0.0).all(axis=1)
    if failed.any():
        return lhs_x, 0.0, failed
    inverse = 1.0 / diagonal
    r = b - lhs_x
    p = inverse * r
    rz = np.einsum("bf,bf->b", r, p)
    enough = tolerance**2 * np.maximum(_squared_size(x, lhs_x, b), rz)
    active = ~(rz <= enough)
    decrease = 0.0
    for _ in range(steps):
        if not active.any():
            break
        q = multiply(p)
        pq = np.einsum("bf,bf->b", p, q)
        failed = active & ~(pq > 0.0)
        if failed.any():
            break
        length = np.where(active, rz / np.where(active, pq, 1.0), 0.0).astype(x.dtype)[:, None]
        x += length * p
        r -= length * q
        decrease += float(np.vdot(length[:, 0], rz))
        before, rz = rz, np.where(active, np.einsum("bf,bf,bf->b", r, inverse, r), rz)
        ratio = np.where(active, rz / np.where(active, before, 1.0), 0.0).astype(x.dtype)
        p = inverse * r + ratio[:, None] * p
        active &= ~(rz <= enough)
    return r, decrease, failed


def _squared_size(x: Any, lhs_x: Any, b: Any) -> Any:
    """A lower bound of ``bᵀ lhs⁻¹ b``, the squared size of the solution in the norm of lhs, shape (n,)."""
    x_lhs_x, x_b = np.einsum("bf,bf->b", x, lhs_x), np.einsum("bf,bf->b", x, b)
    return np.where(x_lhs_x > 0.0, x_b**2 / np.where(x_lhs_x > 0.0, x_lhs_x, 1.0), 0.0)
