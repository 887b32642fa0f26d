"""The exact loss that all systems are compared by, computed from their factors after the run.

Σ_all c (p − x·y)² + λ Σ n |x|²        c = 1 + α ln(1 + r) where observed, else 1; n observations of the row
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wals_spark.arrays.features import feature_rows
from wals_spark.arrays.types import Float32Array

ALPHA, REG_PARAM = 10.0, 0.1
_ROWS_PER_STEP = 1_000_000


class Outcome(NamedTuple):
    """What a system's training leaves: fields of its record, and factors whose row numbers are the ids."""

    record: dict[str, Any]
    users: Float32Array  # (n_users, rank)
    items: Float32Array  # (n_items, rank)


def exact_loss(interactions: pa.Table, x: Float32Array, y: Float32Array) -> float:
    """The loss of factors of users ``x`` and of items ``y``, whose rows are 0 for ids without factors."""
    users, items, ratings = (interactions[name].to_numpy() for name in ("user", "item", "rating"))
    total = float(np.vdot(x.T.astype(np.float64) @ x, y.T.astype(np.float64) @ y))
    for begin in range(0, len(users), _ROWS_PER_STEP):
        step = slice(begin, begin + _ROWS_PER_STEP)
        score = np.einsum("nf,nf->n", x[users[step]], y[items[step]]).astype(np.float64)
        c = 1.0 + ALPHA * np.log1p(ratings[step].astype(np.float64))
        total += float((c * (1.0 - score) ** 2 - score**2).sum())
    for ids, factors in ((users, x), (items, y)):
        norms = np.einsum("nf,nf->n", factors, factors, dtype=np.float64)
        total += REG_PARAM * float(np.bincount(ids, minlength=len(factors)) @ norms)
    return total


def read_factors(path: str | Path) -> Float32Array:
    """A factor table as a matrix whose row number is the id, shape (largest id + 1, rank)."""
    table = pq.read_table(path).combine_chunks()
    ids = table["id"].to_numpy()
    rows = feature_rows(table["features"].combine_chunks())
    matrix = np.zeros((ids.max() + 1, rows.shape[1]), dtype=np.float32)
    matrix[ids] = rows
    return matrix
