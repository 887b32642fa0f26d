"""Folds users in: solves them against a model's items, and writes the next version.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.spark.fold_in import run_fold_in
from wals_spark.spark.job import run_job

if __name__ == "__main__":
    run_job("fold in", FoldInSettings, "Solve all users of an input against the items of a model.", run_fold_in)
