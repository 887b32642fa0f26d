"""Measures how many users per second fold in on one core, many per call and one per call. See --help."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # read when NumPy is imported

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from wals_spark.objective.automatic import DataCounts
from wals_spark.serving.fold_in import FoldIn
from wals_spark.settings.resolved import resolved
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import gramian


def main() -> None:
    """Make a model and histories, fold them in, print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--history", type=int, default=50, help="items per user")
    parser.add_argument("--users", type=int, default=10_000)
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    factors = rng.normal(0.0, 0.1, (options.items, options.rank)).astype(np.float32)
    counts = DataCounts(users=options.users, items=options.items, observations=options.users * options.history)
    objective = resolved(Config.of(), counts).objectives(counts)["users"]
    model = FoldIn(pa.array(np.arange(options.items) * 7), factors, gramian(factors), objective)
    indptr = np.arange(options.users + 1) * options.history
    first = rng.integers(options.items, size=(options.users, 1))
    items = ((first + 1999 * np.arange(options.history)) % options.items * 7).ravel()  # distinct within a history
    ratings = rng.integers(1, 30, size=indptr[-1]).astype(np.float64)

    print(f"rank {options.rank}, {options.history} items per user, of {options.items:,}")
    together = seconds_per_call(lambda: model.fold_in_many(indptr, items, ratings), 6)[1:]  # the first call compiles
    users_per_second = options.users / statistics.median(together)
    print(f"{users_per_second:,.0f} users per second, {options.users:,} per call (median of {len(together)})")
    one_by_one = []
    for begin in range(0, min(500, options.users) * options.history, options.history):
        history = [array[begin : begin + options.history].tolist() for array in (items, ratings)]
        one_by_one += seconds_per_call(partial(model.fold_in, *history), 1)
    print(f"{1e3 * statistics.median(one_by_one):.2f} ms per call with one user (median of {len(one_by_one)})")


def seconds_per_call(function: Callable[[], object], n_calls: int) -> list[float]:
    """Call a function; the seconds of each call."""
    seconds = []
    for _ in range(n_calls):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
