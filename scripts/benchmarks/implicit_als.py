"""The library `implicit` in the benchmark: implicit.als on all cores."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pyarrow.parquet as pq
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from benchmarks.loss import ALPHA, REG_PARAM, Outcome
from benchmarks.processes import n_cores
from benchmarks.workload import Workload
from wals_spark.arrays.types import Float32Array, Int64Array


def train_implicit(workload: Workload, *, use_cg: bool) -> Outcome:
    """Train from a matrix whose ids are row numbers already."""
    table = pq.read_table(workload.path)
    users, items = (table[name].to_numpy() for name in ("user", "item"))
    confidence = (1.0 + ALPHA * np.log1p(table["rating"].to_numpy())).astype(np.float32)
    _fit(confidence, users, items, workload.rank, use_cg=use_cg, iterations=1)  # a warm-up
    return _fit(confidence, users, items, workload.rank, use_cg=use_cg, iterations=workload.iterations)


def _fit(
    confidence: Float32Array, users: Int64Array, items: Int64Array, rank: int, *, use_cg: bool, iterations: int
) -> Outcome:
    began = time.perf_counter()
    matrix = csr_matrix((confidence, (users, items)))
    # It has no λ by count: this is the λ n of a row of mean length.
    plain = REG_PARAM * len(users) / np.sqrt(float(np.prod(matrix.shape)))
    model = AlternatingLeastSquares(
        factors=rank, alpha=1.0, regularization=plain, use_cg=use_cg, use_gpu=False, iterations=iterations,
        num_threads=n_cores(), random_state=0,
    )  # fmt: skip
    prepared = time.perf_counter() - began
    ends: list[float] = []
    model.fit(matrix, show_progress=False, callback=lambda *_: ends.append(time.perf_counter() - began))
    per_iteration = statistics.median(np.diff(ends)) if iterations > 1 else ends[0]
    record = {
        "prepare_seconds": max(prepared, ends[0] - per_iteration),
        "seconds_per_iteration": per_iteration,
        "seconds": ends[-1],
    }
    return Outcome(record, model.user_factors, model.item_factors)
