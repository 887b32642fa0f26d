"""Erases users or items from all versions of a model, and names the exports that may still have them.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.forget import ForgetSettings
from wals_spark.spark.job import run_job
from wals_spark.spark.nights.forget import run_forget

if __name__ == "__main__":
    run_job("forget", ForgetSettings, "Erase users or items from all versions of a model.", run_forget)
