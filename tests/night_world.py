"""A shop whose interactions arrive night by night, and the laws that hold after each night of its model."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from killed_runs import REPOSITORY, Ended, Popen
from pyspark.sql import SparkSession

from wals_spark.run.faults import FAULT
from wals_spark.run.manifest import files_of_manifest, read_manifest
from wals_spark.run.version_files import TABLES, local_files, refuse_other_files
from wals_spark.settings.loader import load_settings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.spark.job import exit_code_of
from wals_spark.spark.nights.retrain import run_retrain

DAY = 86400.0
START = 1.77e9 // DAY * DAY
USERS, ITEMS, TASTES = 1500, 250, 8
WINDOW = 30  # days of history that a night reads
ROWS_PER_DAY = 2500
K = 20


class Shop:
    """Users with tastes, who come and go, and items that come and go; ids are text.

    ``rows(day)`` are the interactions of the days before ``day``, the last `WINDOW` of them.
    """

    def __init__(self, days: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        n_users, n_items = USERS + 4 * days, ITEMS + days
        tastes = rng.dirichlet(np.full(TASTES, 0.15), size=n_users)
        of_items = rng.integers(TASTES, size=n_items)
        popularity = 1.0 / (1.0 + rng.permutation(n_items)) ** 0.6
        chances = tastes[:, of_items] * popularity + 0.002 * popularity
        self.chances = chances / chances.sum(axis=1, keepdims=True)
        self.user_from = np.concatenate([np.full(USERS, -WINDOW), np.repeat(np.arange(days), 4)])
        self.item_from = np.concatenate([np.full(ITEMS, -WINDOW), np.arange(days)])
        self.user_until = np.where(rng.random(n_users) < 0.1, rng.integers(0, days + 1, n_users), days + 1)
        self.days = {day: self._day(day, rng) for day in range(-WINDOW, days)}
        self.test = self._fixed_test(rng)

    def _day(self, day: int, rng: np.random.Generator) -> pd.DataFrame:
        there = np.flatnonzero((self.user_from <= day) & (day < self.user_until))
        users = rng.choice(there, ROWS_PER_DAY)
        chances = np.where(self.item_from <= day, self.chances[users], 0.0)
        edges = np.cumsum(chances, axis=1)
        items = (edges < rng.random(ROWS_PER_DAY)[:, None] * edges[:, -1:]).sum(axis=1)
        times = START + day * DAY + np.sort(rng.uniform(0.0, DAY, ROWS_PER_DAY))
        columns = {"user": _names("user", users), "item": _names("item", items), "rating": 1.0, "at": times}
        return pd.DataFrame(columns)

    def _fixed_test(self, rng: np.random.Generator) -> dict[str, set[str]]:
        """Users who are there from the first day to the last, and what they would take next."""
        loyal = np.flatnonzero((self.user_from < 0) & (self.user_until > max(self.days)))[:400]
        chosen = (rng.choice(ITEMS, 5, p=_normal(self.chances[user, :ITEMS])) for user in loyal)
        users = _names("user", loyal)
        return {user: set(_names("item", items)) for user, items in zip(users, chosen, strict=True)}

    def rows(self, day: int) -> pd.DataFrame:
        """All interactions that a night after the day before ``day`` reads."""
        return pd.concat([self.days[before] for before in range(day - WINDOW, day)], ignore_index=True)


def _names(kind: str, numbers: np.ndarray) -> list[str]:
    return [f"{kind}-{number:06d}" for number in numbers]


def _normal(chances: np.ndarray) -> np.ndarray:
    return chances / chances.sum()


@dataclass
class Nights:
    """A model's root and its data below a folder, and the quality of each version that was served."""

    folder: Path
    shop: Shop
    settings: tuple[str, ...] = ()
    qualities: dict[str, float] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "model"

    def write(self, rows: pd.DataFrame) -> None:
        """Make these tonight's data."""
        self.folder.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(self.folder / "plays.parquet", index=False)

    def arguments(self, name: str) -> list[str]:
        """What jobs/retrain.py is told."""
        return [
            f"input.path={self.folder / 'plays.parquet'}", "input.timestamp=at", f"output.path={self.root}",
            f"run.id={name}", "data.max_age_hours=0", "train.rank=12", "train.user_blocks=2", "train.item_blocks=2",
            "retain.versions=4", "retain.grace_hours=0", *self.settings,
        ]  # fmt: skip

    def passes(self, spark: SparkSession, name: str, *more: str) -> tuple[int, str]:
        """One night in a session; its exit code, and the error if there is one."""
        errors = io.StringIO()
        settings = load_settings(RetrainSettings, None, [*self.arguments(name), *more])
        with redirect_stderr(errors):
            code = exit_code_of(partial(run_retrain, spark, settings))
        return code, errors.getvalue()

    def start(self, name: str, *more: str, fault: str = "") -> Popen:
        """Start a night as a process of its own, to end at a fault point."""
        job = [sys.executable, str(REPOSITORY / "jobs/retrain.py")]
        command = [*job, *(f"--set={setting}" for setting in (*self.arguments(name), *more))]
        return Popen(command, self.folder, {**_environment(), FAULT: fault})

    def run(self, name: str, *more: str, fault: str = "") -> Ended:
        """The same, to its end."""
        return self.start(name, *more, fault=fault).wait()

    @property
    def served(self) -> str:
        return (self.root / "CURRENT").read_text().strip()

    def record(self, name: str) -> dict:
        return json.loads((self.root / "runs" / name / "run.json").read_text())

    def history(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted((self.root / "history").iterdir())]

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.root / "versions").iterdir())

    def assert_laws(self, kept: int = 4) -> None:
        """What holds after every night, however it ended."""
        version = self.root / "versions" / self.served
        manifest = read_manifest((version / "manifest.json").read_text(), str(version))
        found = local_files(version, (*TABLES, "gramians.json", "events.jsonl"))
        refuse_other_files(files_of_manifest(manifest), found, str(version))
        quality = self.quality(version)
        self.qualities[self.served] = quality
        assert quality >= 0.95 * max(self.qualities.values()), self.qualities
        assert len(self.versions()) <= kept + 2
        left = [path for path in (self.root / "runs").glob("*/*") if path.name != "run.json"]
        running = {name.name for name in (self.root / "runs").iterdir() if self.record(name.name)["state"] == "running"}
        assert {path.parent.name for path in left} <= running | {self.served, *self.unfinished()}, left

    def unfinished(self) -> set[str]:
        """Nights that may go on: what they have is kept until another night begins."""
        states = {path.name: self.record(path.name)["state"] for path in (self.root / "runs").iterdir()}
        return {name for name, state in states.items() if state in ("interrupted", "failed", "refused")}

    def quality(self, version: Path) -> float:
        """Recall@K on the fixed test, what was seen included: the model's own scores are what is judged."""
        users, items = (pq.read_table(version / f"{side}_factors").to_pandas() for side in ("user", "item"))
        row_of = {user: row for row, user in enumerate(users["id"])}
        known = [user for user in self.shop.test if user in row_of]
        scores = np.stack(users["features"].iloc[[row_of[user] for user in known]]) @ np.stack(items["features"]).T
        names = items["id"].to_numpy()
        best = names[np.argsort(-scores, axis=1, kind="stable")[:, :K]]
        wanted = [self.shop.test[user] for user in known]
        return float(np.mean([len(items & {*row}) / len(items) for items, row in zip(wanted, best, strict=True)]))


def _environment() -> dict[str, str]:
    return {**os.environ, "SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


def flip_a_byte(path: Path) -> None:
    """Damage a file without changing its size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def files_with(folder: Path, texts: list[str]) -> list[str]:
    """Files below a folder that contain one of the texts, as bytes or as a value of a Parquet table."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content = "\n".join(map(str, pq.read_table(path).to_pydict().values())).encode()
            if any(text.encode() in content for text in texts):
                found.append(str(path.relative_to(folder)))
    return found
