from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; they may not be passed on, so this repository does not hold them."""
    folder = os.environ.get("WALS_SPARK_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: set WALS_SPARK_DATA to the folder that holds lastfm-split and the others")
    return Path(folder)


@pytest.fixture
def completed(run_job):
    """Run a job that has to succeed."""

    def run(name: str, *settings: str):
        done = run_job(name, *settings)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def evaluate(completed, tmp_path):
    """Run jobs/evaluate.py on the model that was trained, and read what it found as {"recall@20": entry}."""

    def run(*settings: str):
        completed("evaluate", *settings, "model.path=model", "output.path=found")
        found = json.loads((tmp_path / "found/metrics.json").read_text())["metrics"]
        return {f"{entry['name']}@{entry['k']}": entry for entry in found}

    return run


@pytest.fixture
def train(completed, tmp_path):
    """Run jobs/train.py with settings, and read both factor tables as {id: row}."""

    def run(*settings: str):
        completed("train", *settings, "output.path=model")
        version = (tmp_path / "model/CURRENT").read_text().strip()
        model = tmp_path / "model/versions" / version
        return model, *(factors(model / side) for side in ("user_factors", "item_factors"))

    return run


def factors(path: Path) -> dict:
    table = pq.read_table(path)
    rows = np.array(table["features"].to_pylist(), dtype=np.float64)
    return dict(zip(table["id"].to_pylist(), rows, strict=True))
