"""How many users fold in a second, on one core: many in one call, and one a call. See --help."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy comes in: one core is meant

import argparse
import statistics
import time

import numpy as np
import pyarrow as pa

from wals_spark.serving.fold_in import FoldIn
from wals_spark.settings.train import load_config
from wals_spark.solvers.gramian import gramian


def main() -> None:
    """Make a model and histories, fold in, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--history", type=int, default=50, help="items of each user")
    parser.add_argument("--users", type=int, default=10_000)
    given = parser.parse_args()

    rng = np.random.default_rng(0)
    factors = rng.normal(0.0, 0.1, (given.items, given.rank)).astype(np.float32)
    objective = load_config(None, ["input.path=-", "output.path=-"]).objectives(users=0, items=given.items)["users"]
    model = FoldIn(pa.array(np.arange(given.items) * 7), factors, gramian(factors), objective)
    indptr = np.arange(given.users + 1) * given.history
    first = rng.integers(given.items, size=(given.users, 1))
    items = ((first + 1999 * np.arange(given.history)) % given.items * 7).ravel()  # distinct within a history
    ratings = rng.integers(1, 30, size=indptr[-1]).astype(np.float64)

    seconds = []
    for _ in range(6):  # the first compiles
        began = time.perf_counter()
        model.fold_in_many(indptr, items, ratings)
        seconds.append(time.perf_counter() - began)
    users_a_second = given.users / statistics.median(seconds[1:])
    print(f"rank {given.rank}, {given.history} items a user of {given.items:,}")
    print(f"{users_a_second:,.0f} users a second, {given.users:,} a call (median of 5)")
    alone = []
    for begin in range(0, min(500, given.users) * given.history, given.history):
        history = items[begin : begin + given.history].tolist(), ratings[begin : begin + given.history].tolist()
        began = time.perf_counter()
        model.fold_in(*history)
        alone.append(time.perf_counter() - began)
    print(f"{1e3 * statistics.median(alone):.2f} ms for one user a call (median of {len(alone)})")


if __name__ == "__main__":
    main()
