"""The schedules that docs/operations.md shows: an Airflow DAG and a Kubernetes CronJob."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from wals_spark.errors import EXIT_CODES
from wals_spark.settings.run import Checkpoint

ROOT = Path(__file__).resolve().parents[2]
FOR_A_HUMAN = [2, 3, 4]


def test_airflow_parses_the_dag(tmp_path):
    python = os.environ.get("WALS_AIRFLOW_PYTHON")
    if not python:
        pytest.skip("Airflow: scripts/test --all makes .venv-airflow for it")
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "nightly.py").write_text((ROOT / "conf/airflow_dag.py").read_text())
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [python, str(ROOT / "tests/airflow_dags.py"), str(folder)]
    parsed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    bag = json.loads(parsed.stdout.splitlines()[-1])
    assert bag["errors"] == {}
    assert bag["dags"] == {"wals_spark_nightly": {"retrain": [], "status": ["retrain"]}}
    assert bag["retries"] == {"wals_spark_nightly": [3, 3]}


def test_the_cronjob_retries_what_a_retry_may_help_with():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((ROOT / "conf/cronjob.yaml").read_text())
    assert (job["kind"], job["spec"]["concurrencyPolicy"]) == ("CronJob", "Forbid")
    spec = job["spec"]["jobTemplate"]["spec"]
    failing, _ = spec["podFailurePolicy"]["rules"]
    assert (failing["action"], failing["onExitCodes"]["values"]) == ("FailJob", FOR_A_HUMAN)
    assert all(f"{code} " in EXIT_CODES for code in FOR_A_HUMAN)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # as a policy for failures of pods needs
    assert pod["terminationGracePeriodSeconds"] > Checkpoint().grace_seconds
