"""The Gramian of a factor matrix, in float64 and summed over blocks; and the Gramians of a model as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from wals_spark.arrays.batching import row_slices
from wals_spark.arrays.types import Float32Array, Float64Array


def gramian(factors: Float32Array) -> Float64Array:
    """``YᵀY`` of the factors (n_rows, width), without λ and without α₀: shape (width, width)."""
    width = factors.shape[1]
    total: Float64Array = np.zeros((width, width))
    for batch in row_slices(len(factors)):
        rows = factors[batch].astype(np.float64)
        total += rows.T @ rows
    return total


def merged(parts: Mapping[int, Float64Array], width: int) -> Float64Array:
    """Sum the blocks' Gramians in the order of their block numbers, so that two runs agree bit for bit."""
    total: Float64Array = np.zeros((width, width))
    for block in sorted(parts):
        total += parts[block]
    return total


def as_json(gramians: Mapping[str, Float64Array]) -> str:
    """The Gramians of ``users`` and ``items`` as text, each a list of rows; no digit is lost."""
    return json.dumps({side: matrix.tolist() for side, matrix in gramians.items()}) + "\n"


def from_json(text: str) -> dict[str, Float64Array]:
    """The Gramians that `as_json` wrote."""
    return {side: np.array(rows, dtype=np.float64) for side, rows in json.loads(text).items()}
