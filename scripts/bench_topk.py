"""The k best items for every user: this project, with and without the users' own items, and MLlib, on made factors.

Factors are normal, items' lengths long-tailed; histories are long-tailed on both sides. Each system runs in a process
of its own, warmed up on a tenth of the users four times, from factor tables to results that are computed and thrown
away (Spark's ``noop`` format). MLlib is an ALSModel of the same factors, in its memory before the clock starts, with
the best of three block sizes and a native BLAS held to one thread, if the machine has one (Debian: apt-get install
libopenblas0).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.table import Table

from wals_spark.arrays.features import feature_column
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.ranking.modes import MODES
from wals_spark.spark.item_table import item_table
from wals_spark.spark.recommend import RankTask, recommend
from wals_spark.spark.session import open_session

FOLDER = Path(__file__).resolve().parent.parent / "build/bench-topk"
MLLIB_BLOCK_SIZES = (1024, 4096, 16384)  # rows of a block in recommendForAll; 4096 is MLlib's default


def main() -> None:
    """Make the data, run the systems, print and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=11_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--rows", type=int, default=9_600_000, help="pairs that users have already")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated, of: %(default)s")
    parser.add_argument("--json", type=Path, help="file for the records, a list of objects")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        run_here(chosen)
        return
    unknown = set(chosen.systems.split(",")) - set(SYSTEMS)
    if unknown:
        parser.error(f"unknown systems {sorted(unknown)}")
    make(chosen)
    records = [run(system) for system in chosen.systems.split(",")]
    show(records)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(records, indent=2) + "\n")


def data_of(chosen: argparse.Namespace) -> Path:
    """The folder of the made tables."""
    return FOLDER / f"{chosen.users}-{chosen.items}-{chosen.rank}-{chosen.rows}"


def make(chosen: argparse.Namespace) -> None:
    """Write users, items and seen as Parquet, unless they are there."""
    folder, unfinished = data_of(chosen), FOLDER / "unfinished"
    if folder.exists():
        return
    unfinished.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, rows in (("users", chosen.users), ("items", chosen.items)):
        factors = rng.normal(size=(rows, chosen.rank), scale=chosen.rank**-0.5).astype(np.float32)
        if name == "items":
            factors *= (1.0 + rng.pareto(3.0, size=(rows, 1))).astype(np.float32)
        table = pa.table({"id": np.arange(rows, dtype=np.int32), "features": feature_column(factors)})
        pq.write_table(table, unfinished / f"{name}.parquet", row_group_size=max(1000, rows // 16))
    users, items, _ = synthetic_ratings(chosen.rows, users=chosen.users, items=chosen.items)
    pq.write_table(
        pa.table({"user": users.astype(np.int32), "item": items.astype(np.int32)}), unfinished / "seen.parquet"
    )
    unfinished.rename(folder)


def run(system: str) -> dict[str, Any]:
    """One system in a process of its own; its record."""
    print(f"{system} ...", file=sys.stderr)
    record, log = FOLDER / f"{system}.json", FOLDER / f"{system}.log"
    record.unlink(missing_ok=True)
    with log.open("w") as file:
        command = [sys.executable, *sys.argv, "--run", system]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code or not record.exists():
        sys.exit(f"{system} ended with exit code {code}; its log is {log}")
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def run_here(chosen: argparse.Namespace) -> None:
    """Warm up, rank, and write the record."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    peak = Peak()
    with open_session("bench top-k", local_master=f"local[{cores}]") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        timed, how = SYSTEMS[chosen.run](spark, chosen)
        began = time.perf_counter()
        timed()
        seconds = time.perf_counter() - began
    record = {
        "system": chosen.run, "users": chosen.users, "items": chosen.items, "rank": chosen.rank, "k": chosen.k,
        "cores": cores, "seconds": seconds, "pairs_per_second": chosen.users * chosen.items / seconds,
        "peak_gib": peak.gib(), **how,
    }  # fmt: skip
    (FOLDER / f"{chosen.run}.json").write_text(json.dumps(record))


def ours(*, leave_out: bool) -> Callable[[SparkSession, argparse.Namespace], tuple[Callable[[], None], dict[str, Any]]]:
    """What jobs/recommend.py does between reading a model and writing a table."""

    def prepare(spark: SparkSession, chosen: argparse.Namespace) -> tuple[Callable[[], None], dict[str, Any]]:
        users, items, seen = (
            spark.read.parquet(f"{data_of(chosen)}/{name}.parquet") for name in ("users", "items", "seen")
        )

        def rank(some: DataFrame, n: int) -> None:
            task = RankTask(item_table(items, width=chosen.rank), chosen.k, MODES["items"])
            compute(recommend(some, task, n_queries=n, pairs=seen if leave_out else None))

        for _ in range(1 + len(MLLIB_BLOCK_SIZES)):  # as warm as MLlib's JVM is after its trials
            rank(users.where("id % 10 = 0"), chosen.users // 10)
        return lambda: rank(users, chosen.users), {}

    return prepare


def mllib(spark: SparkSession, chosen: argparse.Namespace) -> tuple[Callable[[], None], dict[str, Any]]:
    """ALSModel.recommendForAllUsers."""
    cores = spark.sparkContext.defaultParallelism
    users, items = (
        spark.read.parquet(f"{data_of(chosen)}/{name}.parquet").repartition(2 * cores).cache()
        for name in ("users", "items")
    )
    users.count()
    items.count()
    made: Any = spark.sparkContext._jvm

    def rank(some: DataFrame, block_size: int) -> float:
        began = time.perf_counter()
        model = made.org.apache.spark.ml.recommendation.ALSModel("als", chosen.rank, some._jdf, items._jdf)
        for name, value in (("UserCol", "user"), ("ItemCol", "item"), ("BlockSize", block_size)):
            getattr(model, f"set{name}")(value)
        compute(DataFrame(model.recommendForAllUsers(chosen.k), spark))
        return time.perf_counter() - began

    tenth = users.where("id % 10 = 0")
    rank(tenth, MLLIB_BLOCK_SIZES[0])
    trials = {size: rank(tenth, size) for size in MLLIB_BLOCK_SIZES}
    best = min(trials, key=lambda size: trials[size])
    return lambda: print(rank(users, best)), {"block_size": best, "trials_on_a_tenth": trials}


def compute(rows: DataFrame) -> None:
    """All of it, and keep nothing."""
    rows.write.format("noop").mode("overwrite").save()


SYSTEMS = {"ours": ours(leave_out=False), "ours-unseen": ours(leave_out=True), "mllib": mllib}


class Peak:
    """The most memory that this process and those it started have had together, by a look each half second."""

    def __init__(self) -> None:
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def gib(self) -> float:
        """Stop looking; the most."""
        self._ended.set()
        self._thread.join()
        return self._most / 2**30

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self._most = max(self._most, sum(_proportional_bytes(pid) for pid in _family(os.getpid())))


def _family(pid: int) -> list[int]:
    """A process and all below it; Linux only."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
        except OSError:
            continue  # it ended while we looked
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _proportional_bytes(pid: int) -> int:
    """Memory of a process, what it shares with others divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def show(records: list[dict[str, Any]]) -> None:
    """Print a table, with ratios against the last record."""
    first, last = records[0], records[-1]
    table = Table(title=f"{first['users']:,} users x {first['items']:,} items, rank {first['rank']}, k = {first['k']}, "
                  f"{first['cores']} cores")  # fmt: skip
    for name in ("system", "seconds", f"{last['system']} / it", "M pairs/s", "peak GiB"):
        table.add_column(name, justify="left" if name == "system" else "right")
    for record in records:
        table.add_row(
            record["system"],
            f"{record['seconds']:.1f}",
            f"{last['seconds'] / record['seconds']:.1f}",
            f"{record['pairs_per_second'] / 1e6:,.0f}",
            f"{record['peak_gib']:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
