"""Measures how long reading and checking a table takes, and building its blocks as well. See --help."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

import wals_spark
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.settings.train import Config
from wals_spark.spark.prepared import check_input, prepare
from wals_spark.spark.reading import read


def main() -> None:
    """Write a table with ids of each kind, and measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=9_600_000)
    parser.add_argument("--calls", type=int, default=4, help="measured ones, after one to warm up")
    options = parser.parse_args()
    n_users, n_items = options.rows * 70 // 9600, options.rows * 11 // 9600
    users, items, ratings = synthetic_ratings(options.rows, users=n_users, items=n_items)
    with tempfile.TemporaryDirectory() as folder, wals_spark.open_session("check", local_master="local[2]") as spark:
        for kind, of_users, of_items in (("bigint", users, items), ("string", _named("u", users), _named("i", items))):
            path = Path(folder, f"{kind}.parquet")
            pq.write_table(pa.table({"user": of_users, "item": of_items, "rating": ratings}), path)
            measure(spark, kind, str(path), options.calls)


def measure(spark: SparkSession, kind: str, path: str, calls: int) -> None:
    """Print the least and the median seconds of both."""
    config = Config.of({"input.path": path})

    def build() -> None:
        with tempfile.TemporaryDirectory() as folder:
            prepare(read(spark, config.input), config, folder)

    steps: dict[str, Callable[[], object]] = {
        "read and check": lambda: check_input(read(spark, config.input), config),
        "read, check and build": build,
    }
    for name, step in steps.items():
        seconds = []
        for _ in range(calls + 1):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        least, median = min(seconds[1:]), statistics.median(seconds[1:])
        print(f"{kind} ids, {name}: {least:.2f} s, median {median:.2f} s of {calls}", flush=True)


def _named(prefix: str, ids: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}-{number:07d}" for number in ids])


if __name__ == "__main__":
    main()
