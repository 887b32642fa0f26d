"""Measures what checkpoints cost a training: by default, and one every so many seconds. See --help."""

from __future__ import annotations

import argparse
import logging
import re
import statistics
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

import wals_spark
from wals_spark.local.synthetic import synthetic_ratings

_WRITTEN = re.compile(r"checkpoint after half-iteration \d+, in ([\d.]+) s")


class _Checkpoints(logging.Handler):
    """The seconds of each checkpoint that the log tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seconds += [float(seconds) for seconds in _WRITTEN.findall(record.getMessage())]


def main() -> None:
    """Train without checkpoints, by default and with many in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=11_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument(
        "--every", type=float, default=5.0, help="seconds between two checkpoints, where there are many"
    )
    parser.add_argument("--rounds", type=int, default=5, help="measured ones, after one to warm up")
    options = parser.parse_args()
    written = _Checkpoints()
    logging.getLogger("wals_spark").addHandler(written)
    logging.getLogger("wals_spark").setLevel(logging.INFO)
    columns = synthetic_ratings(options.rows, users=options.users, items=options.items)
    with tempfile.TemporaryDirectory() as folder, wals_spark.open_session("checkpoints") as spark:
        pq.write_table(pa.table(dict(zip(("user", "item", "rating"), columns, strict=True))), f"{folder}/plays.parquet")
        plays = spark.read.parquet(f"{folder}/plays.parquet")
        seconds: dict[str, list[float]] = {"never": [], "auto": [], str(options.every): []}
        for number in range(options.rounds + 1):
            for every, measured in seconds.items():
                written.seconds.clear()
                took = trained(plays, f"{folder}/model", options.rank, every)
                costs = ", ".join(f"{cost:.2f} s" for cost in written.seconds) or "none"
                print(f"round {number}, every {every}: {took:.2f} s; checkpoints: {costs}", flush=True)
                if number:
                    measured.append(took)
    for every, measured in seconds.items():
        ratios = [one / without for one, without in zip(measured, seconds["never"], strict=True)]
        print(f"every {every}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def trained(plays: DataFrame, root: str, rank: int, every: str) -> float:
    """The seconds of one training of ten iterations below a root."""
    began = time.perf_counter()
    settings = {"output.path": root, "run.id": f"run-{time.monotonic_ns()}", "checkpoint.every": every}
    wals_spark.fit(plays, {**settings, "train.rank": rank, "train.max_iter": 10})
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
