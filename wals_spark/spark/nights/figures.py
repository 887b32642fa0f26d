"""Counts tonight's data, before anything is written: one pass over all rows, and a few over a sample of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from wals_spark.nights.data_figures import DAYS, DataFigures, day_of
from wals_spark.spark.checking import Interactions
from wals_spark.spark.held_out import with_plain_ids
from wals_spark.spark.histories import refuse_other_type
from wals_spark.spark.model.open import ModelVersion

_SAMPLE = 300_000  # rows by which shares, quantiles and days are told: a share of 10 % within 0.1 %
_SCORED, _FEWEST_SCORED = 50_000, 1_000  # pairs of the test
_SECONDS_PER_DAY = 86400
_ACCURACY = 10_000  # of quantiles: Spark's default
_DISTINCT_ERROR = 0.02


def figures_of(interactions: Interactions, served: ModelVersion | None) -> DataFigures:
    """The figures of checked interactions; with a served version, the shares of rows of its ids, too.

    Raises
    ------
    InputError
        If ids are strings and the served version's are integers, or the other way round.
    """
    table, rows = with_plain_ids(interactions.table), interactions.rows
    _refuse_other_types(table, served)
    table.sparkSession.sparkContext.setJobDescription("judge the data")
    (numbers,) = table.agg(*_distinct()).collect()
    with _sampled(table, rows) as sample:
        n_sampled = sample.count()
        user_share, known_users = _of_ids(sample, "user", served, n_sampled)
        item_share, known_items = _of_ids(sample, "item", served, n_sampled)
        (quantiles,) = sample.agg(*_quantiles()).collect()
        days = _of_days(sample, rows / max(n_sampled, 1))
    return DataFigures(
        rows=rows,
        users=numbers["users"],
        items=numbers["items"],
        dropped=interactions.dropped,
        merged_share=max(0.0, 1.0 - numbers["pairs"] / rows),
        earliest=interactions.times[0],
        newest=interactions.times[1],
        user_share=user_share,
        item_share=item_share,
        ratings={
            "median": quantiles["ratings"][0],
            "p90": quantiles["ratings"][1],
            "most": interactions.largest_rating,
        },
        times=dict(zip(("p10", "median"), quantiles["times"], strict=True)),
        days=days,
        known_users=known_users,
        known_items=known_items,
    )


def _refuse_other_types(table: DataFrame, served: ModelVersion | None) -> None:
    for role in ("user", "item") if served is not None else ():
        ids = with_plain_ids(_factors(served, role).select("id"), "id")
        refuse_other_type(table.schema[role].dataType, ids.schema["id"].dataType, setting=f"input.{role}")


def lift_of(model: ModelVersion, test: DataFrame) -> float | None:
    """The lift of a model on a sample of the pairs of a night's test."""
    pairs = with_plain_ids(test).select("user", "item")
    return lift(model, pairs.orderBy(F.xxhash64("user", "item"), "user", "item").limit(_SCORED))


def lift(model: ModelVersion, pairs: DataFrame) -> float | None:
    """By how much a model scores pairs higher than the users of these with the items of other pairs, on average.

    Popular items have high scores with anyone, and cancel. ``pairs`` (user, item) are few; those of which the model
    does not know all ids are left out. None if less than a thousand are left.
    """
    group = F.pmod(F.hash("user", "item"), F.lit(8))  # Spark warns of a window over all rows
    in_order = Window.partitionBy(group).orderBy(F.xxhash64("user", "item"), "user", "item")
    scored = pairs.withColumn("other", F.lead("item").over(in_order)).dropna(subset=["other"])
    for role in ("user", "item", "other"):
        ids = F.broadcast(scored.select(F.col(role).alias("id")).distinct())
        factors = with_plain_ids(_factors(model, role), "id").join(ids, "id", "left_semi")
        scored = scored.join(factors.select(F.col("id").alias(role), F.col("features").alias(f"{role}_features")), role)
    difference = F.zip_with("item_features", "other_features", lambda x, y: x.cast("double") - y)
    products = F.zip_with("user_features", difference, lambda x, y: x * y)
    more = F.aggregate(products, F.lit(0.0), lambda total, product: total + product)
    (row,) = scored.agg(F.avg(more).alias("lift"), F.count("*").alias("pairs")).collect()
    return float(row["lift"]) if row["pairs"] >= _FEWEST_SCORED else None


@contextmanager
def _sampled(table: DataFrame, rows: int) -> Iterator[DataFrame]:
    """About `_SAMPLE` rows, or all, in memory until the end of the ``with``."""
    columns = table.select("user", "item", "rating", "timestamp")
    sample = (columns if rows <= _SAMPLE else columns.sample(fraction=_SAMPLE / rows, seed=0)).persist()
    try:
        yield sample
    finally:
        sample.unpersist()


def _distinct() -> list[Column]:
    of = {"users": F.col("user"), "items": F.col("item"), "pairs": F.xxhash64("user", "item")}
    return [F.approx_count_distinct(column, _DISTINCT_ERROR).alias(name) for name, column in of.items()]


def _quantiles() -> list[Column]:
    return [
        F.percentile_approx(F.abs("rating"), [0.5, 0.9], _ACCURACY).alias("ratings"),
        F.percentile_approx("timestamp", [0.1, 0.5], _ACCURACY).alias("times"),
    ]


def _of_ids(sample: DataFrame, role: str, served: ModelVersion | None, rows: int) -> tuple[float, float | None]:
    """The share of rows of the id with most, and of those whose id the model has."""
    counts = sample.groupBy(F.col(role).alias("id")).agg(F.count("*").alias("rows"))
    known: Column = F.lit(None).cast("bigint")
    if served is not None:
        ids = with_plain_ids(_factors(served, role).select("id"), "id")
        of_sample = ids.join(F.broadcast(counts.select("id")), "id", "left_semi").withColumn("known", F.lit(True))
        counts = counts.join(of_sample, "id", "left")
        known = F.coalesce(F.sum(F.when(F.col("known"), F.col("rows"))), F.lit(0))
    (row,) = counts.agg(F.max("rows").alias("most"), known.alias("known")).collect()
    return row["most"] / rows, None if row["known"] is None else row["known"] / rows


def _of_days(sample: DataFrame, times: float) -> dict[str, int]:
    day = F.floor(F.col("timestamp") / _SECONDS_PER_DAY).alias("day")
    rows = sample.groupBy(day).count().orderBy(F.desc("day")).limit(DAYS).collect()
    return {day_of(row["day"] * float(_SECONDS_PER_DAY)): round(row["count"] * times) for row in reversed(rows)}


def _factors(model: ModelVersion | None, role: str) -> DataFrame:
    assert model is not None  # or nobody asks
    return model.user_factors if role == "user" else model.item_factors
