"""Serves another version of a model, rolls back to the one before, or verifies the files of one.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.publish import PublishSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.nights.publish import run_publish

if __name__ == "__main__":
    run_job("publish", PublishSettings, "Serve another version of a model, roll back, or verify.", run_publish)
