"""An Airflow DAG that retrains a model every night; copy it to your dags folder, and set the paths.

Airflow 2.4 and newer. Data, configuration or a model that was refused (exit codes 2, 3, 4) is for a human: no retry.
What a retry may help with (1, 5, 143) is retried; the run resumes where it died, since its name is the night's.
"""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.exceptions import AirflowFailException

WALS_SPARK = "/opt/wals_spark"
CONFIG = "/etc/wals_spark/retrain.toml"
REFUSED = {2: "configuration", 3: "data or model", 4: "candidate"}


@dag(
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    tags=["wals_spark"],
)
def wals_spark_nightly():
    """Retrain, and print the status whatever happened."""

    @task
    def retrain(ds: str | None = None) -> None:
        command = ["spark-submit", "--master", "yarn", f"{WALS_SPARK}/jobs/retrain.py", "--config", CONFIG]
        code = subprocess.run([*command, "--set", f"run.id={ds}"], check=False).returncode
        if code in REFUSED:
            raise AirflowFailException(
                f"exit code {code}: {REFUSED[code]} refused, yesterday's model stays; see the log"
            )
        if code:
            raise RuntimeError(f"exit code {code}")

    @task(trigger_rule="all_done")
    def status() -> None:
        root = "hdfs:///models/shop"
        subprocess.run(["spark-submit", f"{WALS_SPARK}/jobs/status.py", "--set", f"model.path={root}"], check=True)

    retrain() >> status()


wals_spark_nightly()
