"""Measures what it costs to evaluate a training on held-out interactions after every iteration. See --help."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

import wals_spark
from wals_spark.local.synthetic import synthetic_ratings


class Seconds(NamedTuple):
    """Of a whole call of `fit`, and of its iterations and their evaluation alone."""

    call: float
    iterations: float


def main() -> None:
    """Train with and without held-out interactions in turn, and print the ratios of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_100_000, help="of which one in eleven is held out")
    parser.add_argument("--users", type=int, default=6_000)
    parser.add_argument("--items", type=int, default=3_700)
    parser.add_argument("--pairs", type=int, default=7, help="measured ones, after one to warm up")
    options = parser.parse_args()
    columns = synthetic_ratings(options.rows, users=options.users, items=options.items)
    table = pa.table(dict(zip(("user", "item", "rating"), columns, strict=True)))
    is_held_out = np.random.default_rng(0).random(options.rows) < 1 / 11
    with tempfile.TemporaryDirectory() as folder, wals_spark.open_session("held out", local_master="local[2]") as spark:
        for name, rows in (("training", ~is_held_out), ("held_out", is_held_out)):
            pq.write_table(table.filter(pa.array(rows)), f"{folder}/{name}.parquet")
            print(f"{name}: {rows.sum():,} interactions", flush=True)
        training, held_out = (spark.read.parquet(f"{folder}/{name}.parquet") for name in ("training", "held_out"))
        pairs = [(fitted(training, held_out), fitted(training, None)) for _ in range(options.pairs + 1)][1:]
    for name in Seconds._fields:
        ratios = [getattr(evaluated, name) / getattr(plain, name) for evaluated, plain in pairs]
        usual = statistics.median(getattr(plain, name) for _, plain in pairs)
        print(f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) times {usual:.2f} s")


def fitted(training: DataFrame, held_out: DataFrame | None) -> Seconds:
    """The seconds of one training with automatic settings."""
    began = time.perf_counter()
    model = wals_spark.fit(training, held_out=held_out)
    seconds = time.perf_counter() - began
    return Seconds(seconds, sum(event["seconds"] + event.get("evaluate_seconds", 0.0) for event in model.events))


if __name__ == "__main__":
    main()
