"""Trains a model: reads, checks, builds blocks, trains, publishes.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.train import Config
from wals_spark.spark.job import run_job
from wals_spark.spark.train import run_train

if __name__ == "__main__":
    run_job("train", Config, "Train weighted ALS on interactions and write the factor tables.", run_train)
