"""Retrains a model, once a night: judges the data, starts from what is served, and publishes only what is no worse.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.retrain import RetrainSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.nights.retrain import run_retrain

if __name__ == "__main__":
    run_job(
        "retrain", RetrainSettings, "Retrain a model on tonight's data, and serve it if it is no worse.", run_retrain
    )
