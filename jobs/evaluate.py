"""Evaluates a model on held-out interactions, beside popularity.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.spark.evaluate import run_evaluate
from wals_spark.spark.job import run_job

if __name__ == "__main__":
    run_job("evaluate", EvaluateSettings, "Evaluate a model by the ranks of users' held-out items.", run_evaluate)
