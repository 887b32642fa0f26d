"""Where MLlib's users are besides a classic session: Spark Connect, MLflow, a notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.slow


def test_a_saved_model_serves_with_spark_connect(run, saved):
    found = json.loads(run(HERE / "serve_with_connect.py", saved).splitlines()[-1])
    expected = json.loads((saved / "expected.json").read_text())
    assert found["best"] == expected["best"]
    assert found["predictions"] == pytest.approx(expected["predictions"], rel=1e-5)
    assert (found["subset"], found["similar"], found["rank"]) == ([0, 1, 2], 24, 3)
    assert found["stopped_by"] == "maxIter"
    assert found["refused"].startswith("WALS.fit needs RDDs, which Spark Connect has not")


def test_mlflow_logs_a_pipeline_and_loads_it_elsewhere(run, saved, tmp_path):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    uri, before = run(HERE / "log_with_mlflow.py", "log", store, saved).split()[-2:]
    _, after = run(HERE / "log_with_mlflow.py", uri, store, saved).split()[-2:]
    assert float(after) == pytest.approx(float(before), rel=1e-6)


def test_the_notebook_runs(python, run, tmp_path):
    execute = tmp_path / "execute.py"
    execute.write_text(
        "import sys, nbformat; from nbconvert.preprocessors import ExecutePreprocessor\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "ExecutePreprocessor(timeout=300, kernel_name='python3').preprocess(notebook, {'metadata': {'path': '.'}})\n"
        "print(sum(len(cell.get('outputs', [])) for cell in notebook.cells))\n"
    )
    assert int(run(execute, ROOT / "docs/mllib.ipynb").split()[-1]) > 4


def test_a_notebook_shows_the_latest_half_iteration(run):
    (shown,) = run(HERE / "progress_in_notebook.py").splitlines()
    assert shown.startswith("half-iteration 4/4  ")
