"""Rotates factors towards those of another model: the scores stay as they are, the coordinates become comparable.

The objective has no preferred basis: with any orthogonal R, X R and Y R have the same scores and the same penalty as X
and Y. Two trainings end in different bases, so vectors of one mean nothing beside vectors of the other. The orthogonal
Procrustes problem, min ‖A R − B‖ over orthogonal R for rows A and B of the same ids, is solved by R = U Vᵀ with
Aᵀ B = U S Vᵀ (Schönemann 1966).
"""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.types import Float32Array, Float64Array


def cross_product(rows: Float32Array, others: Float32Array, rank: int) -> Float64Array:
    """``Aᵀ B`` of the first ``rank`` coordinates of rows of the same ids, both (n, width); sums over parts add up."""
    a, b = (part[:, :rank].astype(np.float64) for part in (rows, others))
    product: Float64Array = a.T @ b
    return product


def rotation_of(cross: Float64Array) -> Float64Array:
    """The orthogonal matrix (rank, rank) that rotates rows A towards B, from ``Aᵀ B``."""
    left, _, right = np.linalg.svd(cross)
    rotation: Float64Array = left @ right
    return rotation


def rotated(rows: Float32Array, rotation: Float64Array) -> Float32Array:
    """The rows in the rotated basis; coordinates beyond the rotation's, those of biases, stay."""
    rank = len(rotation)
    free = rows[:, :rank].astype(np.float64) @ rotation
    return np.concatenate([free.astype(np.float32), rows[:, rank:]], axis=1)
