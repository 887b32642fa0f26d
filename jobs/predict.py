"""Predicts the scores of given pairs of users and items: ratings, of a model of ratings.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.predict import PredictSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.predict import run_predict

if __name__ == "__main__":
    run_job("predict", PredictSettings, "Write given pairs with their predicted scores.", run_predict)
