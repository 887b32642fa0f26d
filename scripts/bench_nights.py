"""Measures nights on synthetic interactions: warm starts, alignment, and how soon bad data is refused. See --help."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import wals_spark
from wals_spark.errors import GateError, InputError
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.spark.model.open import open_version
from wals_spark.spark.nights.drift import drift_between
from wals_spark.spark.nights.retrain import run_retrain

Columns = dict[str, np.ndarray[Any, Any]]
_DAYS, _DAY = 100.0, 86400.0


def main() -> None:
    """Print a line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=9, help="of cold trainings; warm ones have a third")
    parser.add_argument("--parts", default="warm,align,refuse")
    options = parser.parse_args()
    users, items, ratings = synthetic_ratings(options.rows, users=options.users, items=options.items)
    rng = np.random.default_rng(0)
    at = time.time() - _DAY * rng.uniform(0.0, _DAYS, len(users))
    columns: Columns = {"user": users, "item": items, "rating": ratings.astype(np.float64), "at": at}
    with tempfile.TemporaryDirectory() as folder, wals_spark.open_session("nights") as spark:
        bench = Bench(spark, Path(folder), columns, options)
        for part in options.parts.split(","):
            getattr(bench, part)()


class Bench:
    """All measurements, on the same interactions."""

    def __init__(self, spark: SparkSession, folder: Path, columns: Columns, options: argparse.Namespace) -> None:
        self.spark, self.folder, self.columns, self.options = spark, folder, columns, options
        self.settings = {"train.rank": options.rank, "train.max_iter": options.iterations}
        self.write("all", columns)
        self.all = spark.read.parquet(f"{folder}/all.parquet")
        oldest = float(np.quantile(columns["at"], 0.99))
        self.before = self.all.where(F.col("at") < oldest)
        is_test = F.pmod(F.hash("user", "item"), F.lit(20)) == 0
        self.test, self.training = self.all.where(is_test), self.all.where(~is_test)
        self.training_before = self.training.where(F.col("at") < oldest)

    def write(self, name: str, columns: Mapping[str, np.ndarray[Any, Any]]) -> str:
        """Write interactions; their path."""
        path = f"{self.folder}/{name}.parquet"
        pq.write_table(pa.table(dict(columns)), path)
        return path

    def warm(self) -> None:
        """After one percent of new rows: a third of the iterations from yesterday's model, against a cold start."""
        yesterday = wals_spark.fit(self.training_before, self.settings)
        cold = wals_spark.fit(self.training, self.settings)
        fewer = {**self.settings, "train.max_iter": self.options.iterations // 3}
        warm = wals_spark.fit(self.training, fewer, warm_start=yesterday)
        losses = [model.manifest["loss"]["total"] for model in (warm, cold)]
        measures = {"k": [20], "metrics": ["ndcg"], "bootstrap": 500}
        entry = warm.evaluate(self.test, self.training, options=measures, against=cold).metrics[0]
        print(
            f"warm start: {fewer['train.max_iter']} iterations reach {losses[0] / losses[1]:.5f} times the loss of "
            f"{self.options.iterations} cold ones; NDCG@20 {entry['model']:.4f} against {entry['against']:.4f}, "
            f"{entry['difference']:+.4f} ({entry['difference_low']:+.4f} to {entry['difference_high']:+.4f})",
            flush=True,
        )

    def align(self) -> None:
        """Two cold trainings with other seeds, on 99 % of the rows and on all: under yesterday's index."""
        root = f"{self.folder}/align"
        kept = {**self.settings, "output.path": root}
        wals_spark.fit(self.before, {**kept, "output.version": "served", "train.seed": 1})
        served = open_version(self.spark, root, "served")
        for align in ("none", "served"):
            version = {"output.version": f"align-{align}", "output.publish": False, "train.align": align}
            wals_spark.fit(self.all, {**kept, **version})
            drift = drift_between(open_version(self.spark, root, f"align-{align}"), served)["drift"]
            shown = {name: value for name, value in drift.items() if isinstance(value, float)}
            print(f"train.align = {align}: {json.dumps(shown)}", flush=True)

    def refuse(self) -> None:
        """Seconds of nights that are refused, against those of the training that they spared."""
        every = self.columns
        self._night("first", every, arrived=every["at"] < np.quantile(every["at"], 0.98))
        seconds = self._night("good", every, arrived=every["at"] < np.quantile(every["at"], 0.99))
        for name, poison in POISONS.items():
            self._night(name, poison(every), against=seconds)

    def _night(
        self, name: str, columns: Columns, *, arrived: np.ndarray[Any, Any] | None = None, against: float = 0.0
    ) -> float:
        """One night; the seconds of its training, from blocks to the complete version."""
        shown = columns if arrived is None else {key: values[arrived] for key, values in columns.items()}
        settings = {
            "input.path": self.write("tonight", shown), "input.timestamp": "at", "run.id": name,
            "output.path": f"{self.folder}/nights", "train.rank": self.options.rank,
        }  # fmt: skip
        began, refusal = time.perf_counter(), ""
        self.spark.catalog.clearCache()
        try:
            run_retrain(self.spark, RetrainSettings.of(settings))
        except (GateError, InputError) as error:
            refusal = str(error)
        took = time.perf_counter() - began
        record = json.loads((self.folder / "nights/runs" / name / "run.json").read_text())
        steps = record["steps"]
        if refusal:
            print(f"{name}: refused in {took:.2f} s, {took / against:.2f} of a training: {refusal[:140]}", flush=True)
            return took
        training = float(steps["verify"] - steps["build blocks"])
        print(f"{name}: {took:.2f} s, of which training {training:.2f} s; steps began at {steps}", flush=True)
        return training


def _one(columns: Columns, name: str, value: float) -> Columns:
    changed = columns[name].copy()
    changed[5] = value
    return {**columns, name: changed}


POISONS: dict[str, Callable[[Columns], Columns]] = {
    "one-rating-1e30": lambda c: _one(c, "rating", 1e30),
    "two-percent": lambda c: {name: values[::50] for name, values in c.items()},
    "items-shuffled": lambda c: {**c, "item": np.random.default_rng(1).permutation(c["item"])},
    "milliseconds": lambda c: _one(c, "at", 1000.0 * float(c["at"][5])),
    "one-item": lambda c: {**c, "item": np.full_like(c["item"], c["item"][0])},
    "half-of-one-user": lambda c: {**c, "user": np.where(np.arange(len(c["user"])) % 2, c["user"], c["user"][0])},
}


if __name__ == "__main__":
    main()
