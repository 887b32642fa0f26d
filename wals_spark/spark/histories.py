"""Interactions gathered by user, and brought beside the users' own rows: what recommending and judging start from."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError

_TASK_SECONDS = 20  # long beside the start of a task, short beside a run
_SCORES_A_SECOND = 2e8  # of one core at rank 64, roughly


def histories(interactions: DataFrame, *, by: str = "user", n_partitions: int) -> DataFrame:
    """One row for each ``by``: `id`, and each other column as an array under its own name, their entries side by side.

    Shuffles once, to ``n_partitions`` by id. Interactions have no nulls; repeated ones are repeated in the arrays.
    """
    others = [name for name in interactions.columns if name != by]
    gathered = interactions.repartition(n_partitions, by).groupBy(F.col(by).alias("id"))
    return gathered.agg(*(F.collect_list(name).alias(name) for name in others))


def in_type_of(table: DataFrame, column: str, factors: DataFrame, *, setting: str) -> DataFrame:
    """The table with its ids in the type of those of ``factors``; rows whose id does not fit into it are left out.

    Raises
    ------
    InputError
        If one has strings and the other numbers, so that no id can be found; ``setting`` is what names the column.
    """
    found, known = (t.schema[name].dataType for t, name in ((table, column), (factors, "id")))
    if isinstance(found, T.StringType) != isinstance(known, T.StringType):
        raise InputError(
            f"{setting}: ids are of type {found.simpleString()}, those of the model of type {known.simpleString()}; "
            "cast the column in the source"
        )
    if found == known:
        return table
    return table.withColumn(column, F.expr(f"try_cast({column} as {known.simpleString()})")).dropna(subset=[column])


def with_histories(queries: DataFrame, gathered: DataFrame, *, n_partitions: int = 0) -> DataFrame:
    """The rows of ``queries`` (id, ...), with the columns of ``gathered`` beside them; null for an id that has none."""
    if n_partitions:
        queries = queries.repartition(n_partitions, "id")
    return queries.join(gathered, "id", "left")


def partitions(queries: int, items: int, cores: int) -> int:
    """How many tasks score so many pairs, at least one a core."""
    return max(cores, round(queries * items / _SCORES_A_SECOND / _TASK_SECONDS))
