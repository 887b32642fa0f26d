from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from run_jobs import enter_folder_in_jvm

import wals_spark
from wals_spark.local.synthetic import synthetic_listening


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages read: the demo's plays.csv, and the same as plays.parquet for the jobs."""
    folder = tmp_path_factory.mktemp("pages")
    history = synthetic_listening()
    kept = np.flatnonzero(~history.held_out)
    with (folder / "plays.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["listener", "album", "plays"])
        writer.writerows(zip(history.users[kept], history.items[kept], history.plays[kept], strict=True))
    columns = {"user": history.users[kept], "item": history.items[kept], "rating": history.plays[kept]}
    pq.write_table(pa.table(columns), folder / "plays.parquet")
    return folder


@pytest.fixture
def in_sample(sample: Path) -> Iterator[Path]:
    """The sample as the current folder, of Python and of a JVM that is there already."""
    before = Path.cwd()
    os.chdir(sample)
    enter_folder_in_jvm(sample)
    yield sample
    os.chdir(before)


@pytest.fixture
def session(in_sample: Path) -> Iterator[SparkSession]:
    """What pages call ``spark``."""
    with wals_spark.open_session("pages", local_master="local[2]") as spark:
        spark.conf.set("spark.sql.shuffle.partitions", "2")
        yield spark


@pytest.fixture
def served(session: SparkSession, in_sample: Path) -> Path:
    """The folder ``model`` with a served version, as jobs/train.py leaves it."""
    if not (in_sample / "model/CURRENT").exists():
        plays = session.read.parquet("plays.parquet")
        wals_spark.fit(plays, {"train.rank": 16, "train.max_iter": 4}).publish("model")
    return in_sample / "model"
