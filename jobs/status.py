"""Prints what is served since when, how the last runs ended, and the disk that a model takes.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.status import StatusSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.nights.status import run_status

if __name__ == "__main__":
    run_job("status", StatusSettings, "Print what is served, how the last runs ended, and the disk.", run_status)
