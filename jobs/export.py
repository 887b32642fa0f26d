"""Exports item vectors for a search engine, with the recall that they have.

Runs under spark-submit and under plain python.
"""

from __future__ import annotations

from wals_spark.settings.export import ExportSettings
from wals_spark.spark.export import require_index_library, run_export
from wals_spark.spark.job import run_job

if __name__ == "__main__":
    description = "Write item vectors, and an index of them, for approximate search."
    run_job("export", ExportSettings, description, run_export, before=require_index_library)
