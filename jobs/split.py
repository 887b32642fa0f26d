"""Splits interactions into training, test and, for strong generalisation, fold-in parts.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.split import SplitSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.split import run_split

if __name__ == "__main__":
    run_job("split", SplitSettings, "Split interactions into parts to train on and to test with.", run_split)
