"""What Spark knows of a DataFrame before any of it is computed."""

from __future__ import annotations

from pyspark.sql import DataFrame

_UNKNOWN = 2**63 - 1  # Spark's size of what is in no file, such as rows from Python


def expected_bytes(table: DataFrame) -> int | None:
    """The size of a table, as Spark's optimizer expects it; None where it has no idea."""
    size = int(str(table._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()))
    return size if size < _UNKNOWN else None


def counted_rows(table: DataFrame) -> int | None:
    """The rows of a table whose columns are those of a cached one, which Spark has counted; None of any other."""
    plan = table.select("*")._jdf.queryExecution().optimizedPlan()  # anew: a plan keeps what was known before
    while str(plan.nodeName()) == "Project":
        plan = plan.child()
    rows = plan.stats().rowCount()
    return int(str(rows.get())) if not plan.children().size() and rows.isDefined() else None


def n_partitions(table: DataFrame) -> int | None:
    """The number of partitions, if Spark can tell without computing any: where nothing is shuffled."""
    if "Exchange" in table._jdf.queryExecution().executedPlan().toString():
        return None
    return table.rdd.getNumPartitions()
