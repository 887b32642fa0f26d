from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from als_data import explicit_ratings
from pyspark.sql import SparkSession

from wals_spark.ml import WALS
from wals_spark.spark.session import open_session

COLUMNS = "user int, item int, rating float"


@pytest.fixture(scope="session")
def python() -> str:
    """The Python that has Spark Connect, MLflow and Jupyter."""
    path = os.environ.get("WALS_PLATFORMS_PYTHON")
    if not path:
        pytest.skip("Spark Connect, MLflow, Jupyter: scripts/test --lane platforms makes .venv-platforms for them")
    return path


@pytest.fixture(scope="session")
def spark(python: str) -> Iterator[SparkSession]:
    """A classic session, as on a cluster that trains."""
    with open_session("platforms", local_master="local[2]") as session:
        yield session


@pytest.fixture(scope="session")
def saved(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved model, the pairs that it was trained on, and what it says in a classic session."""
    folder = tmp_path_factory.mktemp("saved")
    table = spark.createDataFrame(explicit_ratings(rank=3).training, COLUMNS)
    table.write.parquet(str(folder / "ratings"))
    model = WALS(rank=3, maxIter=2).fit(table)
    model.save(str(folder / "model"))
    best = {
        str(row["user"]): [entry["item"] for entry in row["recommendations"]]
        for row in model.recommendForAllUsers(3, exclude=table).collect()
    }
    predictions = {f"{row['user']},{row['item']}": row["prediction"] for row in model.transform(table).collect()}
    (folder / "expected.json").write_text(json.dumps({"best": best, "predictions": predictions}))
    return folder


@pytest.fixture
def run(python: str, tmp_path: Path) -> Callable[..., str]:
    """Runs a program with the Python of the platforms; what it prints."""

    def run(program: Path, *arguments: Any) -> str:
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python, "PYTHONPATH": root}
        command = [python, str(program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run
