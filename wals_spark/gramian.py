"""The f × f Gramian of a factor matrix, in float64 and in mergeable parts; and both sides' as a model keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from wals_spark.batches import slices

Matrix = npt.NDArray[np.float64]


def gramian(factors: npt.NDArray[np.float32]) -> Matrix:
    """``YᵀY`` of the rows given, without λ and without α₀: shape (width, width)."""
    width = factors.shape[1]
    total: Matrix = np.zeros((width, width))
    for some in slices(len(factors)):
        rows = factors[some].astype(np.float64)
        total += rows.T @ rows
    return total


def merged(parts: Mapping[int, Matrix], width: int) -> Matrix:
    """Sum the blocks' Gramians in the order of their block numbers, so that two runs agree bit for bit."""
    total: Matrix = np.zeros((width, width))
    for block in sorted(parts):
        total += parts[block]
    return total


def as_json(gramians: Mapping[str, Matrix]) -> str:
    """The Gramians of ``users`` and ``items`` as text, each a list of rows; no digit is lost."""
    return json.dumps({side: matrix.tolist() for side, matrix in gramians.items()}) + "\n"


def from_json(text: str) -> dict[str, Matrix]:
    """What `as_json` wrote."""
    return {side: np.array(rows, dtype=np.float64) for side, rows in json.loads(text).items()}
