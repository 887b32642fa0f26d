"""Searches for the settings of training; a search that was killed continues.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.tune import TuneSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.tune import require_optuna, run_tune

if __name__ == "__main__":
    description = "Search for the settings of training that rank held-out interactions best."
    run_job("tune", TuneSettings, description, run_tune, before=require_optuna)
