"""Tables of a version whose files the driver alone has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pyspark.sql import DataFrame

from wals_spark.spark.model.factor_tables import table_of_files
from wals_spark.spark.model.open import ModelVersion


def in_memory(version: ModelVersion) -> ModelVersion:
    """The same version with tables that need no storage; their files are on the driver's disk, and small."""
    return replace(
        version,
        user_factors=_in_memory(version, "user_factors", version.user_factors),
        item_factors=_in_memory(version, "item_factors", version.item_factors),
    )


def _in_memory(version: ModelVersion, name: str, table: DataFrame) -> DataFrame:
    folder = Path(version.storage.path(version.folder, name).removeprefix("file:"))
    return table_of_files(version.spark, [file.read_bytes() for file in sorted(folder.iterdir())], table.schema)
