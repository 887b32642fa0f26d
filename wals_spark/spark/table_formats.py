"""Folders of Delta, Iceberg and Hudi: their data files alone are not the table."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from wals_spark.errors import InputError
from wals_spark.messages import quoted
from wals_spark.settings.tables import Table

FILE_FORMATS = frozenset({"parquet", "csv", "json", "orc", "text", "avro", "xml", "binaryfile"})

_MARKS = {"delta": "_delta_log", "iceberg": "metadata/*.metadata.json", "hudi": ".hoodie"}
_MOST_PATHS = 100  # that a pattern matches, and that are looked at


def refuse_table_formats(spark: SparkSession, settings: Table, section: str) -> None:
    """Refuse to read the files of a table format one by one: files that it has deleted would be read too.

    Raises
    ------
    InputError
        If a path is such a table or lies in one.
    """
    jvm: Any = spark.sparkContext._jvm
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    looked_at: set[str] = set()
    for name in settings.paths:
        path = jvm.org.apache.hadoop.fs.Path(name)
        files = path.getFileSystem(conf)
        for status in (files.globStatus(path) or [])[:_MOST_PATHS]:
            folder = status.getPath() if status.isDirectory() else status.getPath().getParent()
            while folder is not None and folder.toString() not in looked_at:
                looked_at.add(folder.toString())
                found = _table_format(jvm, files, folder)
                if found:
                    raise InputError(
                        f"{settings.named(section)} is in a table of {found.title()} ({quoted(folder.toString())}), "
                        f"whose files are not all of the table today: set {section}.format = {found}, with its "
                        "package on Spark's class path, and the table's own path"
                    )
                folder = folder.getParent()


def _table_format(jvm: Any, files: Any, folder: Any) -> str | None:
    for name, mark in _MARKS.items():
        pattern = jvm.org.apache.hadoop.fs.Path(folder, mark)
        if files.globStatus(pattern) if "*" in mark else files.exists(pattern):
            return name
    return None
