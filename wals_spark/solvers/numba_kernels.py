"""The loops of the solvers compiled by Numba where it is installed (the extra ``fast``).

Each has a NumPy twin that computes the same more slowly, and tests that compare the two. The symbols are those of
`objective.py` and of any textbook on conjugate gradients. Row u of a block has n observations; f coordinates of it are
solved for:

    symbol       what it is                                                                  shape
    y            the rows of the fixed side that the observations point to                   (n, f)
    w, s         their weights: Σ w y yᵀ on the left, Σ s y on the right                     (n,)
    x            the row that is solved                                                      (f,)
    lhs          diag(lhs_diagonal) + Σ w y yᵀ, never formed                                 (f, f)
    b            the right-hand side, rhs_constant + Σ s y, never formed                     (f,)
    r            the residual b − lhs x                                                      (f,)
    inverse      one over the diagonal of lhs, which is the preconditioner                   (f,)
    p, q         the direction of a step, and lhs p                                          (f,)
    rz           rᵀ diag(inverse) r                                                          number
    norm, bound  bound = rᵀ diag(norm) r, which ends the steps of a row when it is small     (f,), number
    x_lhs_x, x_b xᵀ lhs x and xᵀb                                                            numbers
    value        the objective value, xᵀ lhs x − 2 xᵀb                                       number
    decrease     by how much the steps lowered it                                            number

Sums over observations take four of them at a time, so that each coordinate of a vector is read and written once for
four. They are float32, except over more than `_TILE_ROWS` observations: float32 cannot sum a million terms.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wals_spark.arrays.jit import inlined_by_llvm, inlined_by_numba, jit
from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Int64Array
from wals_spark.solvers.systems import Observations, RotatedSystem

_TILE_ROWS = 32_768  # as many terms as float32 adds up to 2e-6
_TILE_BYTES = 4_000_000  # of rows gathered once and read in every step: about a core's share of the outermost cache


class _Tile(NamedTuple):
    """Observations of one row, gathered: y (tile, f), w and s (tile,)."""

    y: Float32Array
    w: Float32Array
    s: Float32Array


@jit
def conjugate_gradient_rows(
    system: RotatedSystem,
    solution: Float32Array,
    steps: int,
    tolerance: float,
    attempts: int,
    verified: BoolArray,
) -> tuple[float, float, int]:
    """Twin of `conjugate_gradient.numpy_rows`; with ``attempts``, what has no twin: rows solved until that is verified.

    Each row then starts anew from its true residual, up to ``attempts`` times, until its error is below ``tolerance``
    of its size, both in the norm of lhs: the error is no more than rᵀ (α₀g + Λ)⁻¹ r where no w is negative, the size is
    xᵀ lhs x. ``verified`` says which rows reached that; the others are left out of what is returned, and never fail.
    """
    f32 = np.float32
    observations, shift, rhs_constant = system.observations, system.shift, system.rhs_constant
    indptr, diagonal, regularization = observations.indptr, system.diagonal, system.regularization
    f = observations.received.shape[1]
    capacity = min(_TILE_ROWS, max(64, _TILE_BYTES // (4 * f)))
    tile = _Tile(
        y=np.empty((capacity, f), dtype=np.float32),
        w=np.empty(capacity, dtype=np.float32),
        s=np.empty(capacity, dtype=np.float32),
    )
    lhs_diagonal, inverse = np.empty(f, dtype=np.float32), np.empty(f, dtype=np.float32)
    r, norm = np.empty(f, dtype=np.float32), np.empty(f, dtype=np.float32)
    p, q = np.empty(f, dtype=np.float32), np.empty(f, dtype=np.float32)
    squared = f32(tolerance) * f32(tolerance)
    value = 0.0
    decrease = 0.0
    for u in range(len(regularization)):  # ends at a row that is not positive definite, or not of numbers
        begin, end = indptr[u], indptr[u + 1]
        is_long = end - begin > capacity
        if not is_long:
            _gather(observations, shift, begin, end - begin, tile)
        x = solution[u]
        penalty = f32(regularization[u])
        for a in range(f):
            lhs_diagonal[a] = diagonal[a] + penalty
        row_value = 0.0
        row_decrease = 0.0
        positive: Any = True
        for attempt in range(attempts + 1):
            x_lhs_x, x_b = _residual_of_constants(x, lhs_diagonal, rhs_constant, r, inverse)
            if is_long:
                x_lhs_x, x_b = _add_tiles(x, observations, shift, begin, end, tile, r, inverse, x_lhs_x, x_b)
            else:
                x_lhs_x, x_b = _add_tile(x, tile, end - begin, r, inverse, x_lhs_x, x_b)
            positive, rz, bound = _precondition(r, inverse, lhs_diagonal, attempts, norm, p)
            row_value = x_lhs_x - 2.0 * x_b
            if attempts:
                verified[u] = positive and bound <= squared * x_lhs_x
                if verified[u] or attempt == attempts:
                    break
                enough = f32(0.25) * squared * f32(x_lhs_x)  # which is 0 at first where steps start from 0
            else:
                size = x_b**2 / x_lhs_x if x_lhs_x > 0.0 else 0.0  # no more than bᵀ lhs⁻¹ b
                enough = squared * max(f32(size), rz)
            for _ in range(steps):
                if attempts:  # the solution is no smaller than the value is negative
                    enough = max(enough, f32(0.25) * squared * f32(-row_value))
                if bound <= enough or not positive:
                    break
                for a in range(f):
                    q[a] = lhs_diagonal[a] * p[a]
                if is_long:
                    _add_tiles(p, observations, shift, begin, end, tile, q, None, f32(0), f32(0))
                else:
                    _add_tile(p, tile, end - begin, q, None, f32(0), f32(0))
                positive, lowered, rz, bound = _step(x, r, p, q, inverse, norm, rz)
                row_value -= lowered
                row_decrease += lowered
            if not positive:
                break
        if not attempts and not positive:
            return value, decrease, u
        if not attempts or verified[u]:
            value += row_value
            decrease += row_decrease
    return value, decrease, -1


@inlined_by_numba
def _residual_of_constants(
    x: Float32Array, lhs_diagonal: Float32Array, rhs_constant: Float32Array, r: Float32Array, inverse: Float32Array
) -> tuple[Any, Any]:
    """Set r and the diagonal of lhs (in the place of its inverse) to what they are without observations.

    Returns xᵀ lhs x and xᵀb without observations.
    """
    x_lhs_x = np.float32(0)
    x_b = np.float32(0)
    for a in range(len(r)):
        inverse[a] = lhs_diagonal[a]
        r[a] = rhs_constant[a] - lhs_diagonal[a] * x[a]
        x_lhs_x += lhs_diagonal[a] * x[a] * x[a]
        x_b += rhs_constant[a] * x[a]
    return x_lhs_x, x_b


@inlined_by_llvm
def _add_tile(
    v: Float32Array,
    tile: _Tile,
    n: int,
    out: Float32Array,
    diagonal: Float32Array | None,
    x_lhs_x: Any,
    x_b: Any,
) -> tuple[Any, Any]:
    """What the first n observations of a tile add to a product with v, or to a residual.

    Without ``diagonal``, a product: ``out += Σ w (y·v) y``. With it, a residual, for v = x: ``out += Σ (s − w y·x) y``
    and ``diagonal += Σ w y²``.

    Returns ``x_lhs_x + Σ w (y·x)²`` and ``x_b + Σ s y·x``, of a residual.
    """
    f32 = np.float32
    y, w, s = tile.y, tile.w, tile.s
    f = y.shape[1]
    k = 0
    while k + 4 <= n:
        y0, y1, y2, y3 = y[k], y[k + 1], y[k + 2], y[k + 3]
        d0, d1, d2, d3 = f32(0), f32(0), f32(0), f32(0)
        for a in range(f):
            d0 += v[a] * y0[a]
            d1 += v[a] * y1[a]
            d2 += v[a] * y2[a]
            d3 += v[a] * y3[a]
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        if diagonal is None:
            c0, c1, c2, c3 = w0 * d0, w1 * d1, w2 * d2, w3 * d3
        else:
            s0, s1, s2, s3 = s[k], s[k + 1], s[k + 2], s[k + 3]
            x_lhs_x += w0 * d0 * d0 + w1 * d1 * d1 + w2 * d2 * d2 + w3 * d3 * d3
            x_b += s0 * d0 + s1 * d1 + s2 * d2 + s3 * d3
            c0, c1, c2, c3 = s0 - w0 * d0, s1 - w1 * d1, s2 - w2 * d2, s3 - w3 * d3
        for a in range(f):
            out[a] += c0 * y0[a] + c1 * y1[a] + c2 * y2[a] + c3 * y3[a]
            if diagonal is not None:
                diagonal[a] += w0 * y0[a] * y0[a] + w1 * y1[a] * y1[a] + w2 * y2[a] * y2[a] + w3 * y3[a] * y3[a]
        k += 4
    while k < n:
        y0 = y[k]
        d0 = f32(0)
        for a in range(f):
            d0 += v[a] * y0[a]
        if diagonal is None:
            c0 = w[k] * d0
        else:
            x_lhs_x += w[k] * d0 * d0
            x_b += s[k] * d0
            c0 = s[k] - w[k] * d0
        for a in range(f):
            out[a] += c0 * y0[a]
            if diagonal is not None:
                diagonal[a] += w[k] * y0[a] * y0[a]
        k += 1
    return x_lhs_x, x_b


@jit
def _add_tiles(
    v: Float32Array,
    observations: Observations,
    shift: Float32Array,
    begin: int,
    end: int,
    tile: _Tile,
    out: Float32Array,
    diagonal: Float32Array | None,
    x_lhs_x: Any,
    x_b: Any,
) -> tuple[float, float]:
    """`_add_tile` for a row of more observations than a tile holds: gathered tile by tile, and summed in float64."""
    f32 = np.float32
    capacity = len(tile.w)
    out_of_tiles, diagonal_of_tiles = np.zeros(len(out)), np.zeros(len(out))
    x_lhs_x_of_tiles = 0.0
    x_b_of_tiles = 0.0
    for offset in range(begin, end, capacity):
        n = min(capacity, end - offset)
        _gather(observations, shift, offset, n, tile)
        x_lhs_x, x_b = _add_tile(v, tile, n, out, diagonal, x_lhs_x, x_b)
        x_lhs_x_of_tiles += x_lhs_x
        x_b_of_tiles += x_b
        x_lhs_x = f32(0)
        x_b = f32(0)
        _carry(out, out_of_tiles)
        if diagonal is not None:
            _carry(diagonal, diagonal_of_tiles)
    for a in range(len(out)):
        out[a] = out_of_tiles[a]
        if diagonal is not None:
            diagonal[a] = diagonal_of_tiles[a]
    return x_lhs_x_of_tiles, x_b_of_tiles


@jit
def _carry(of_tile: Float32Array, of_tiles: Float64Array) -> None:
    """Add what one tile adds up to to the sum of all, and begin anew."""
    for a in range(len(of_tile)):
        of_tiles[a] += of_tile[a]
        of_tile[a] = 0.0


@inlined_by_numba
def _precondition(
    r: Float32Array,
    inverse: Float32Array,
    lhs_diagonal: Float32Array,
    verify: int,
    norm: Float32Array,
    p: Float32Array,
) -> tuple[Any, Any, Any]:
    """Invert the diagonal of lhs; the first direction.

    Returns whether the diagonal is positive, rz and bound.
    """
    f32 = np.float32
    positive: Any = True
    rz = f32(0)
    bound = f32(0)
    for a in range(len(r)):
        positive &= inverse[a] > 0.0
        inverse[a] = f32(1) / inverse[a]
        norm[a] = f32(1) / lhs_diagonal[a] if verify else inverse[a]
        p[a] = inverse[a] * r[a]
        rz += r[a] * p[a]
        bound += r[a] * norm[a] * r[a]
    return positive, rz, bound


@inlined_by_numba
def _step(
    x: Float32Array,
    r: Float32Array,
    p: Float32Array,
    q: Float32Array,
    inverse: Float32Array,
    norm: Float32Array,
    rz: Any,
) -> tuple[Any, Any, Any, Any]:
    """Move x along p to the minimum, and find the next direction.

    Returns whether lhs curves upwards along p, by how much the objective value fell, and the next rz and bound.
    """
    f32 = np.float32
    pq = f32(0)
    for a in range(len(r)):
        pq += p[a] * q[a]
    length = rz / pq
    next_rz = f32(0)
    bound = f32(0)
    for a in range(len(r)):
        x[a] += length * p[a]
        r[a] -= length * q[a]
        next_rz += r[a] * inverse[a] * r[a]
        bound += r[a] * norm[a] * r[a]
    for a in range(len(r)):
        p[a] = inverse[a] * r[a] + next_rz / rz * p[a]
    return pq > 0.0, float(length) * float(rz), next_rz, bound


@jit
def _gather(observations: Observations, shift: Float32Array, offset: int, n: int, tile: _Tile) -> None:
    """Copy y, w and s of ``n`` observations from ``offset`` on; with a shift, s is of what is left of the score."""
    received, positions, indices = observations.received, observations.positions, observations.indices
    excess_weight, target = observations.excess_weight, observations.target
    y, w, s = tile.y, tile.w, tile.s
    in_confidence = np.float32(observations.unobserved_weight_in_confidence)
    for k in range(n):
        row = received[positions[offset + k]]
        copy = y[k]
        for a in range(received.shape[1]):
            copy[a] = row[a]
    for k in range(n):
        index = indices[offset + k]
        w[k] = excess_weight[index]
        s[k] = (w[k] + in_confidence) * target[index]
    if len(shift):
        for k in range(n):
            s[k] -= w[k] * shift[positions[offset + k]]


@jit
def normal_equations(observations: Observations, rows: Int64Array, lhs: Float64Array, rhs: Float64Array) -> float:
    """Twin of `normal_equations.add_observations`: fills ``lhs`` and ``rhs``, which are zero, and returns ``Σ k``.

    Eight observations at a time, so that each number of lhs is read and written once for eight. The lower triangle of
    each lhs is summed, a line of it to the next multiple of eight, and mirrored at the end. Cut into several functions
    it is 5 to 15 % slower, however they are inlined.
    """
    indptr, positions, indices = observations.indptr, observations.positions, observations.indices
    excess_weight, target, received = observations.excess_weight, observations.target, observations.received
    in_confidence = observations.unobserved_weight_in_confidence
    f = received.shape[1]
    y, w, s = np.zeros((8, f)), np.zeros(8), np.zeros(8)
    constant = 0.0
    for n in range(len(rows)):
        lhs_of_row, rhs_of_row = lhs[n], rhs[n]
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        for offset in range(begin, end, 8):
            m = min(8, end - offset)
            for k in range(m):
                row, copy = received[positions[offset + k]], y[k]
                for a in range(f):
                    copy[a] = row[a]
                index = indices[offset + k]
                w[k] = excess_weight[index]
                s[k] = (w[k] + in_confidence) * target[index]
                constant += s[k] * target[index]
            for k in range(m, 8):
                w[k] = 0.0
                s[k] = 0.0
            y0, y1, y2, y3, y4, y5, y6, y7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
            s0, s1, s2, s3, s4, s5, s6, s7 = s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
            for b in range(f):
                rhs_of_row[b] += (
                    s0 * y0[b] + s1 * y1[b] + s2 * y2[b] + s3 * y3[b]
                    + s4 * y4[b] + s5 * y5[b] + s6 * y6[b] + s7 * y7[b]
                )  # fmt: skip
            for a in range(f):
                c0, c1, c2, c3 = w[0] * y0[a], w[1] * y1[a], w[2] * y2[a], w[3] * y3[a]
                c4, c5, c6, c7 = w[4] * y4[a], w[5] * y5[a], w[6] * y6[a], w[7] * y7[a]
                line = lhs_of_row[a]
                for b in range(min(f, (a // 8 + 1) * 8)):
                    line[b] += (
                        c0 * y0[b] + c1 * y1[b] + c2 * y2[b] + c3 * y3[b]
                        + c4 * y4[b] + c5 * y5[b] + c6 * y6[b] + c7 * y7[b]
                    )  # fmt: skip
        for a in range(f):
            for b in range(a):
                lhs_of_row[b, a] = lhs_of_row[a, b]
    return constant
