"""Sizes and SHA-256 of files on storage: one pass, in the JVM, a file per task."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import functions as F

from wals_spark.spark.storage import Storage


def checksums(storage: Storage, folder: str, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Of some files and folders in a folder, those that are there: size and SHA-256 of each file, by its path in it."""
    paths = [storage.path(folder, name) for name in names if storage.exists(folder, name)]
    if not paths:
        return {}
    storage.spark.sparkContext.setJobDescription(f"checksums of {folder}")
    files = storage.spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(paths)
    digests = files.select("path", "length", F.sha2("content", 256).alias("sha256")).collect()
    # No name here has a character that a URL changes.
    return {row["path"].rpartition(f"/{folder}/")[2]: (row["length"], row["sha256"]) for row in digests}
