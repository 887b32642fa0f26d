"""Files and broadcasts that live as long as the DataFrames that read them, those derived from them included."""

from __future__ import annotations

import copy

from pyspark.sql import DataFrame


def keeping(table: DataFrame, *resources: object) -> DataFrame:
    """The same table, which keeps references to resources that it reads from, and so do tables derived from it.

    PySpark hands the session object of a table on to what is derived from it, and that is all it hands on. So the table
    is given a copy of that object, which stands for the same session in the JVM and has the references.
    """
    if not hasattr(table, "_jdf"):
        return table  # of Spark Connect, where nothing is temporary
    session = copy.copy(table.sparkSession)
    session._wals_spark_resources = resources  # type: ignore[attr-defined]
    table._session = session
    return table
