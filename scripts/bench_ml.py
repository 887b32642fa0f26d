"""Times what MLlib's users write, with WALS and with ALS in turn in one session: fits, cross-validation, predictions.

Each task runs alternately with both, after warm-ups, on the same cached table; printed are the medians and their
ratio. ALS has the best of several numbers of blocks (``--blocks``; its default of 10 among them), and a native BLAS
limited to one thread, if the machine has one (Debian: apt-get install libopenblas0). Data is made
(`synthetic_ratings`); with WALS_SPARK_DATA, the cross-validation of ``folds-100k`` is on MovieLens 100k.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.processes import n_cores, write_json
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.recommendation import ALS
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.table import Table

from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.ml import WALS

FOLDER = Path(__file__).resolve().parent.parent / "build/bench-ml"
Task = Callable[[Any, dict[str, int]], None]
"""Runs with a class of estimator and its blocks; the clock runs while it is called."""


def main() -> None:
    """Run the tasks, print and write the records."""
    options = parse_options()
    session = SparkSession.builder.master(f"local[{n_cores()}]").appName("bench ml")
    spark = session.config("spark.driver.memory", "8g").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    blocks = [int(number) for number in options.blocks.split(",")]
    records = [measured(spark, name, options.rounds, blocks) for name in options.tasks.split(",")]
    spark.stop()
    print_table(records)
    if options.json:
        write_json(records, options.json)


def parse_options() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated, of: %(default)s")
    parser.add_argument(
        "--blocks", default=f"{n_cores()},10", help="numbers of blocks of ALS, comma-separated (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each task with each system")
    parser.add_argument("--json", type=Path, help="file for the records, a list of objects")
    options = parser.parse_args()
    unknown = sorted(set(options.tasks.split(",")) - set(TASKS))
    if unknown:
        parser.error(f"unknown tasks {unknown}")
    return options


def measured(spark: SparkSession, name: str, rounds: int, candidates: list[int]) -> dict[str, Any]:
    """Warm both systems up, choose MLlib's blocks, and time both in turn."""
    task = TASKS[name](spark)
    timed(task, ALS, candidates[0])
    trials = {blocks: timed(task, ALS, blocks) for blocks in candidates} if len(candidates) > 1 else {}
    best = min(candidates, key=lambda blocks: trials.get(blocks, 0.0))
    timed(task, WALS, 0)
    timed(task, WALS, 0)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(timed(task, ALS, best))
        ours.append(timed(task, WALS, 0))
    spark.catalog.clearCache()
    medians = {"mllib_seconds": statistics.median(theirs), "ours_seconds": statistics.median(ours)}
    record = {"task": name, "cores": n_cores(), "mllib_blocks": best, **medians, "mllib_trials": trials}
    print(record, flush=True)
    return record


def timed(task: Task, system: Any, blocks: int) -> float:
    """Seconds of a task; blocks of 0 are the system's own choice."""
    began = time.perf_counter()
    task(system, {"numUserBlocks": blocks, "numItemBlocks": blocks} if blocks else {})
    return time.perf_counter() - began


def ratings(spark: SparkSession, rows: int, users: int, items: int) -> DataFrame:
    """A cached table of made ratings."""
    path = FOLDER / f"{rows}-{users}-{items}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        of_users, of_items, values = synthetic_ratings(rows, users=users, items=items)
        order = np.random.default_rng(0).permutation(len(values))
        columns = {"user": of_users.astype(np.int32), "item": of_items.astype(np.int32), "rating": values}
        table = pa.table({column: array[order].astype(array.dtype) for column, array in columns.items()})
        pq.write_table(table, path, row_group_size=max(1, -(-rows // (2 * n_cores()))))
    table = spark.read.parquet(str(path)).selectExpr("user", "item", "float(rating) rating").cache()
    table.count()
    return table


def fit(spark: SparkSession, rows: int, users: int, items: int, rank: int) -> Task:
    """A fit of ten iterations, and its user factors counted."""
    table = ratings(spark, rows, users, items)

    def run(system: Any, blocks: dict[str, int]) -> None:
        model = system(rank=rank, maxIter=10, implicitPrefs=True, seed=1, **blocks).fit(table)
        model.userFactors.count()

    return run


def folds(table: DataFrame) -> Task:
    """A CrossValidator of six param maps and three folds."""
    table = table.cache()
    table.count()

    def run(system: Any, blocks: dict[str, int]) -> None:
        als = system(maxIter=10, coldStartStrategy="drop", seed=1, **blocks)
        grid = ParamGridBuilder().addGrid(als.rank, [8, 16]).addGrid(als.regParam, [0.02, 0.05, 0.1]).build()
        evaluator = RegressionEvaluator(labelCol="rating", metricName="rmse")
        search = CrossValidator(estimator=als, estimatorParamMaps=grid, evaluator=evaluator, numFolds=3, seed=1)
        print(system.__name__, [round(float(metric), 4) for metric in search.fit(table).avgMetrics], flush=True)

    return run


def movielens(spark: SparkSession) -> DataFrame:
    """MovieLens 100k where there is the data, else as many made ratings."""
    folder = os.environ.get("WALS_SPARK_DATA")
    if not folder:
        return ratings(spark, 100_000, 943, 1682)
    lines = spark.read.csv(f"{folder}/ml-100k/u.data", sep="\t", schema="user int, item int, rating float, time long")
    return lines.drop("time")


TASKS: dict[str, Callable[[SparkSession], Task]] = {
    "fit-1k": lambda spark: fit(spark, 1_000, 200, 100, 10),
    "fit-100k": lambda spark: fit(spark, 100_000, 3_000, 1_500, 10),
    "folds-100k": lambda spark: folds(movielens(spark)),
    "folds-1m": lambda spark: folds(ratings(spark, 1_000_000, 6_000, 3_700)),
    "fit-9.6m": lambda spark: fit(spark, 9_600_000, 70_000, 11_000, 64),
}


def print_table(records: list[dict[str, Any]]) -> None:
    """Print a row per task."""
    table = Table(title=f"seconds, {n_cores()} cores")
    for name in ("task", "WALS", "ALS", "blocks of ALS", "WALS / ALS", "ALS by blocks"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for record in records:
        ours, theirs = record["ours_seconds"], record["mllib_seconds"]
        table.add_row(
            record["task"], f"{ours:.2f}", f"{theirs:.2f}", str(record["mllib_blocks"]), f"{ours / theirs:.2f}",
            ", ".join(f"{blocks}: {seconds:.1f}" for blocks, seconds in record["mllib_trials"].items()),
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
