from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import run_jobs
from made_models import factors_of


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; they may not be passed on, so this repository does not hold them."""
    folder = os.environ.get("WALS_SPARK_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: set WALS_SPARK_DATA to the folder that holds lastfm-split and the others")
    return Path(folder)


@pytest.fixture
def run_job(tmp_path):
    """Run a job's file in a folder of its own; it must succeed."""

    def run(name: str, *settings: str):
        done = run_jobs.run_job(tmp_path, name, *settings)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def evaluate(run_job, tmp_path):
    """Run jobs/evaluate.py on the trained model, and read its metrics as {"recall@20": entry}."""

    def run(*settings: str):
        run_job("evaluate", *settings, "model.path=model", "output.path=evaluation")
        metrics = json.loads((tmp_path / "evaluation/metrics.json").read_text())["metrics"]
        return {f"{entry['name']}@{entry['k']}": entry for entry in metrics}

    return run


@pytest.fixture
def train(run_job, tmp_path):
    """Run jobs/train.py with settings, and read both factor tables as {id: row}."""

    def run(*settings: str):
        run_job("train", *settings, "output.path=model")
        version = (tmp_path / "model/CURRENT").read_text().strip()
        model = tmp_path / "model/versions" / version
        return model, *(factors_of(model / side) for side in ("user_factors", "item_factors"))

    return run
