"""Counts tonight's data: four aggregations, of which the driver receives a row each, or a row per day."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from wals_spark.nights.data_figures import DAYS, DataFigures, day_of
from wals_spark.spark.held_out import with_plain_ids
from wals_spark.spark.histories import refuse_other_type
from wals_spark.spark.model.open import ModelVersion
from wals_spark.spark.nights.snapshot import Snapshot

_SECONDS_PER_DAY = 86400
_ACCURACY = 10_000  # of quantiles: Spark's default
_DISTINCT_ERROR = 0.02


def figures_of(snapshot: Snapshot, served: ModelVersion | None) -> DataFigures:
    """The figures of a night's data; with a served version, the shares of rows of its users and items.

    Raises
    ------
    InputError
        If ids are strings and the served version's are integers, or the other way round.
    """
    table = with_plain_ids(snapshot.all_rows)
    table.sparkSession.sparkContext.setJobDescription("judge the data")
    users = _of_ids(table, "user", None if served is None else served.user_factors)
    items = _of_ids(table, "item", None if served is None else served.item_factors)
    (numbers,) = table.agg(*_of_rows()).collect()
    rows = numbers["rows"]
    return DataFigures(
        rows=rows,
        users=users[0],
        items=items[0],
        dropped=snapshot.dropped,
        merged_share=max(0.0, 1.0 - numbers["pairs"] / rows),
        earliest=numbers["earliest"],
        newest=numbers["newest"],
        user_share=users[1] / rows,
        item_share=items[1] / rows,
        ratings={"median": numbers["ratings"][0], "p90": numbers["ratings"][1], "most": numbers["most"]},
        times={"p10": numbers["times"][0], "median": numbers["times"][1]},
        days=_of_days(table),
        known_users=None if users[2] is None else users[2] / rows,
        known_items=None if items[2] is None else items[2] / rows,
    )


def _of_rows() -> list[Column]:
    rating, time = F.abs("rating"), F.col("timestamp")
    return [
        F.count("*").alias("rows"),
        F.approx_count_distinct(F.xxhash64("user", "item"), _DISTINCT_ERROR).alias("pairs"),
        F.min(time).alias("earliest"),
        F.max(time).alias("newest"),
        F.percentile_approx(rating, [0.5, 0.9], _ACCURACY).alias("ratings"),
        F.max(rating).alias("most"),
        F.percentile_approx(time, [0.1, 0.5], _ACCURACY).alias("times"),
    ]


def _of_ids(table: DataFrame, role: str, factors: DataFrame | None) -> tuple[int, int, int | None]:
    """How many ids there are, the rows of the one with most, and the rows of those that the model has."""
    counts = table.groupBy(F.col(role).alias("id")).agg(F.count("*").alias("rows"))
    known: Column = F.lit(None).cast("bigint")
    if factors is not None:
        ids = with_plain_ids(factors.select("id"), "id").withColumn("known", F.lit(True))
        refuse_other_type(counts.schema["id"].dataType, ids.schema["id"].dataType, setting=f"input.{role}")
        counts = counts.join(ids, "id", "left")
        known = F.coalesce(F.sum(F.when(F.col("known"), F.col("rows"))), F.lit(0))
    (row,) = counts.agg(F.count("*").alias("ids"), F.max("rows").alias("most"), known.alias("known")).collect()
    return row["ids"], row["most"], row["known"]


def _of_days(table: DataFrame) -> dict[str, int]:
    day = F.floor(F.col("timestamp") / _SECONDS_PER_DAY).alias("day")
    rows = table.groupBy(day).count().orderBy(F.desc("day")).limit(DAYS).collect()
    return {day_of(row["day"] * float(_SECONDS_PER_DAY)): row["count"] for row in reversed(rows)}
