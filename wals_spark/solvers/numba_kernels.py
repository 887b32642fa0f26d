"""The inner loops compiled by Numba, where it is installed (the extra ``fast``); cached on disk for all processes.

Everything here has a NumPy twin that says the same thing more slowly, and tests that hold the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wals_spark.arrays.jit import jit
from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Indices, Int64Array

_TILE_ROWS = 32_768  # as many terms as float32 adds up to 2e-6
_TILE_BYTES = 4_000_000  # of rows gathered once and read in every step: about a core's share of the outermost cache


@jit
def conjugate_gradient_rows(
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
    attempts: int,
    verified: BoolArray,
) -> tuple[float, float, int]:
    """Twin of `conjugate_gradient.numpy_rows`; with ``attempts``, what has no twin: rows solved until that is verified.

    Each row then starts anew from its true residual, up to so often, until its error is below ``tolerance`` of its
    size, both in the norm of lhs: the error is no more than rᵀ (α₀g + Λ)⁻¹ r where no w is negative, the size is
    xᵀ lhs x. ``verified`` says which rows got there; the others have no part in what is returned, and never fail.

    Four observations at a time: each coordinate of x, r and the diagonal is then read and written once for four. What a
    tile adds up to is in float32, what the tiles of a long row do in float64: a million terms are more than float32 can
    sum.
    """
    f = received.shape[1]
    f32 = np.float32
    tile = min(_TILE_ROWS, max(64, _TILE_BYTES // (4 * f)))
    rows = np.empty((tile, f), dtype=np.float32)
    w = np.empty(tile, dtype=np.float32)
    s = np.empty(tile, dtype=np.float32)
    r = np.empty(f, dtype=np.float32)
    p = np.empty(f, dtype=np.float32)
    q = np.empty(f, dtype=np.float32)
    lhs_diagonal = np.empty(f, dtype=np.float32)
    inverse = np.empty(f, dtype=np.float32)
    norm = np.empty(f, dtype=np.float32)
    r_of_tiles = np.empty(f)
    inverse_of_tiles = np.empty(f)
    q_of_tiles = np.empty(f)
    in_confidence = f32(unobserved_weight_in_confidence)
    squared = f32(tolerance) * f32(tolerance)
    fit = 0.0
    gain = 0.0
    for u in range(len(regularization)):  # ends at a row that is not positive definite, or not of numbers
        begin, end = indptr[u], indptr[u + 1]
        is_long = end - begin > tile
        x = solution[u]
        penalty = f32(regularization[u])
        for a in range(f):
            lhs_diagonal[a] = diagonal[a] + penalty
        row_fit = 0.0
        row_gain = 0.0
        positive: Any = True
        for attempt in range(attempts + 1):
            # The residual, the preconditioner, xᵀ lhs x and xᵀb.
            energy = f32(0)
            pull = f32(0)
            energy_of_tiles: Any = 0.0
            pull_of_tiles: Any = 0.0
            r_of_tiles[:] = 0.0
            inverse_of_tiles[:] = 0.0
            for a in range(f):
                inverse[a] = lhs_diagonal[a]
                r[a] = toward[a] - lhs_diagonal[a] * x[a]
                energy += lhs_diagonal[a] * x[a] * x[a]
                pull += toward[a] * x[a]
            for offset in range(begin, end, tile):
                m = min(tile, end - offset)
                if attempt == 0 or is_long:
                    _gather(
                        received, positions, indices, excess_weight, target, in_confidence, shift, offset, m, rows, w, s
                    )
                k = 0
                while k + 4 <= m:
                    y0, y1, y2, y3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
                    d0, d1, d2, d3 = f32(0), f32(0), f32(0), f32(0)
                    for a in range(f):
                        d0 += x[a] * y0[a]
                        d1 += x[a] * y1[a]
                        d2 += x[a] * y2[a]
                        d3 += x[a] * y3[a]
                    w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
                    s0, s1, s2, s3 = s[k], s[k + 1], s[k + 2], s[k + 3]
                    energy += w0 * d0 * d0 + w1 * d1 * d1 + w2 * d2 * d2 + w3 * d3 * d3
                    pull += s0 * d0 + s1 * d1 + s2 * d2 + s3 * d3
                    s0, s1, s2, s3 = s0 - w0 * d0, s1 - w1 * d1, s2 - w2 * d2, s3 - w3 * d3
                    for a in range(f):
                        r[a] += s0 * y0[a] + s1 * y1[a] + s2 * y2[a] + s3 * y3[a]
                        inverse[a] += w0 * y0[a] * y0[a] + w1 * y1[a] * y1[a] + w2 * y2[a] * y2[a] + w3 * y3[a] * y3[a]
                    k += 4
                while k < m:
                    y0 = rows[k]
                    d0 = f32(0)
                    for a in range(f):
                        d0 += x[a] * y0[a]
                    energy += w[k] * d0 * d0
                    pull += s[k] * d0
                    s0 = s[k] - w[k] * d0
                    for a in range(f):
                        r[a] += s0 * y0[a]
                        inverse[a] += w[k] * y0[a] * y0[a]
                    k += 1
                if is_long:
                    _carry(r, r_of_tiles)
                    _carry(inverse, inverse_of_tiles)
                    energy_of_tiles += energy
                    pull_of_tiles += pull
                    energy = f32(0)
                    pull = f32(0)
            energy_of_tiles += energy
            pull_of_tiles += pull
            if is_long:
                r[:] = r_of_tiles
                inverse[:] = inverse_of_tiles
            rz = f32(0)
            bound = f32(0)
            for a in range(f):
                positive &= inverse[a] > 0.0
                inverse[a] = f32(1) / inverse[a]
                norm[a] = f32(1) / lhs_diagonal[a] if attempts else inverse[a]
                p[a] = inverse[a] * r[a]
                rz += r[a] * p[a]
                bound += r[a] * norm[a] * r[a]
            row_fit = energy_of_tiles - 2.0 * pull_of_tiles
            if attempts:
                verified[u] = positive and bound <= squared * energy_of_tiles
                if verified[u] or attempt == attempts:
                    break
                enough = f32(0.25) * squared * f32(energy_of_tiles)
            else:
                size = pull_of_tiles**2 / energy_of_tiles if energy_of_tiles > 0.0 else 0.0  # no more than bᵀ lhs⁻¹ b
                enough = squared * max(f32(size), rz)
            for _ in range(steps):
                if bound <= enough or not positive:
                    break
                q_of_tiles[:] = 0.0
                for a in range(f):
                    q[a] = lhs_diagonal[a] * p[a]
                for offset in range(begin, end, tile):
                    m = min(tile, end - offset)
                    if is_long:
                        _gather(
                            received,
                            positions,
                            indices,
                            excess_weight,
                            target,
                            in_confidence,
                            shift,
                            offset,
                            m,
                            rows,
                            w,
                            s,
                        )
                    k = 0
                    while k + 4 <= m:
                        y0, y1, y2, y3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
                        d0, d1, d2, d3 = f32(0), f32(0), f32(0), f32(0)
                        for a in range(f):
                            d0 += p[a] * y0[a]
                            d1 += p[a] * y1[a]
                            d2 += p[a] * y2[a]
                            d3 += p[a] * y3[a]
                        d0, d1, d2, d3 = w[k] * d0, w[k + 1] * d1, w[k + 2] * d2, w[k + 3] * d3
                        for a in range(f):
                            q[a] += d0 * y0[a] + d1 * y1[a] + d2 * y2[a] + d3 * y3[a]
                        k += 4
                    while k < m:
                        y0 = rows[k]
                        d0 = f32(0)
                        for a in range(f):
                            d0 += p[a] * y0[a]
                        d0 *= w[k]
                        for a in range(f):
                            q[a] += d0 * y0[a]
                        k += 1
                    if is_long:
                        _carry(q, q_of_tiles)
                if is_long:
                    q[:] = q_of_tiles
                pq = f32(0)
                for a in range(f):
                    pq += p[a] * q[a]
                positive &= pq > 0.0
                length = rz / pq
                row_fit -= float(length) * float(rz)
                row_gain += float(length) * float(rz)
                before = rz
                rz = f32(0)
                bound = f32(0)
                for a in range(f):
                    x[a] += length * p[a]
                    r[a] -= length * q[a]
                    rz += r[a] * inverse[a] * r[a]
                    bound += r[a] * norm[a] * r[a]
                for a in range(f):
                    p[a] = inverse[a] * r[a] + rz / before * p[a]
            if not positive:
                break
        if not attempts and not positive:
            return fit, gain, u
        if not attempts or verified[u]:
            fit += row_fit
            gain += row_gain
    return fit, gain, -1


@jit
def _carry(part: Float32Array, total: Float64Array) -> None:
    """Add what was summed so far to the total, and begin anew."""
    for a in range(len(part)):
        total[a] += part[a]
        part[a] = 0.0


@jit
def _gather(
    received: Float32Array,
    positions: Indices,
    indices: Indices,
    excess_weight: Float32Array,
    target: Float32Array,
    unobserved_weight_in_confidence: float,
    shift: Float32Array,
    offset: int,
    m: int,
    rows: Float32Array,
    w: Float32Array,
    s: Float32Array,
) -> None:
    """The fixed rows of ``m`` observations, and their w and s; with a shift, s less what the held coordinate gives."""
    for k in range(m):
        y = received[positions[offset + k]]
        copy = rows[k]
        for a in range(received.shape[1]):
            copy[a] = y[a]
        code = indices[offset + k]
        w[k] = excess_weight[code]
        s[k] = (w[k] + unobserved_weight_in_confidence) * target[code]
    if len(shift):
        for k in range(m):
            s[k] -= w[k] * shift[positions[offset + k]]


@jit
def normal_equations(
    indptr: Int64Array,
    positions: Indices,
    indices: Indices,
    excess_weight: Float32Array,
    target: Float32Array,
    unobserved_weight_in_confidence: float,
    received: Float32Array,
    rows: Int64Array,
    lhs: Float64Array,
    rhs: Float64Array,
) -> float:
    """Twin of `normal_equations.add_observations`: fills ``lhs`` and ``rhs``, which are zero, and gives ``Σ k``.

    Eight observations at a time: a row of lhs is then read and written once for eight. The lower triangle alone is
    summed, each row of it to the next multiple of eight, and mirrored at the end.
    """
    f = received.shape[1]
    y = np.zeros((8, f))
    w = np.zeros(8)
    s = np.zeros(8)
    constant = 0.0
    for n in range(len(rows)):
        a, b = lhs[n], rhs[n]
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        for offset in range(begin, end, 8):
            m = min(8, end - offset)
            for k in range(m):
                code = indices[offset + k]
                source = received[positions[offset + k]]
                row = y[k]
                for j in range(f):
                    row[j] = source[j]
                w[k] = excess_weight[code]
                s[k] = (w[k] + unobserved_weight_in_confidence) * target[code]
                constant += s[k] * target[code]
            for k in range(m, 8):
                w[k] = 0.0
                s[k] = 0.0
            y0, y1, y2, y3, y4, y5, y6, y7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
            s0, s1, s2, s3, s4, s5, s6, s7 = s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
            for j in range(f):
                b[j] += (
                    s0 * y0[j] + s1 * y1[j] + s2 * y2[j] + s3 * y3[j]
                    + s4 * y4[j] + s5 * y5[j] + s6 * y6[j] + s7 * y7[j]
                )  # fmt: skip
            for i in range(f):
                c0, c1, c2, c3 = w[0] * y0[i], w[1] * y1[i], w[2] * y2[i], w[3] * y3[i]
                c4, c5, c6, c7 = w[4] * y4[i], w[5] * y5[i], w[6] * y6[i], w[7] * y7[i]
                line = a[i]
                for j in range(min(f, (i // 8 + 1) * 8)):
                    line[j] += (
                        c0 * y0[j] + c1 * y1[j] + c2 * y2[j] + c3 * y3[j]
                        + c4 * y4[j] + c5 * y5[j] + c6 * y6[j] + c7 * y7[j]
                    )  # fmt: skip
        for i in range(f):
            for j in range(i):
                a[j, i] = a[i, j]
    return constant
