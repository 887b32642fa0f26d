"""Lists the files of a version with their sizes, rows and checksums: one pass, in the JVM, a file per task."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.run.version_files import TABLES, VersionFile, refuse_other_files
from wals_spark.spark.checksums import checksums
from wals_spark.spark.storage import EVENTS, GRAMIANS, Storage

# The report and the metrics are not listed: an evaluation writes them anew beside a version that stays the same.
_SINGLE = (EVENTS, GRAMIANS)


def list_files(storage: Storage, folder: str) -> list[VersionFile]:
    """The files of a version, by path."""
    rows = _rows_of_parts(storage, folder)
    found = files_of(storage, folder)
    return [VersionFile(path, size, digest, rows.get(path)) for path, (size, digest) in sorted(found.items())]


def verify_files(storage: Storage, folder: str, listed: Sequence[VersionFile]) -> None:
    """Refuse a version whose files are not those that its manifest lists, byte for byte.

    Raises
    ------
    InputError
        With the first file at fault.
    """
    refuse_other_files(listed, files_of(storage, folder), storage.path(folder))


def files_of(storage: Storage, folder: str) -> dict[str, tuple[int, str]]:
    """The size and the SHA-256 of each file, by its path in the folder."""
    return checksums(storage, folder, (*TABLES, *_SINGLE))


def _rows_of_parts(storage: Storage, folder: str) -> dict[str, int]:
    """The rows of each part of a table, by its path."""
    counted: dict[str, int] = {}
    for table in TABLES:
        if storage.exists(folder, table):
            rows = _read(storage.spark, storage.path(folder, table))
            parts = rows.groupBy("file").agg(F.count("*").alias("rows")).collect()
            counted.update({f"{table}/{row['file']}": row["rows"] for row in parts})
    return counted


def _read(spark: SparkSession, path: str) -> DataFrame:
    return spark.read.parquet(path).select(F.col("_metadata.file_name").alias("file"))
