"""Recommends: the best items for users, users for items, or what is similar, as a table.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.recommend import RecommendSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.recommend import run_recommend

if __name__ == "__main__":
    description = "Write the best items for users, or the other way round, as a table."
    run_job("recommend", RecommendSettings, description, run_recommend)
