"""Held-out interactions gathered by user, with what each user has seen: what all models are evaluated on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError
from wals_spark.evaluation.metrics import Popularity
from wals_spark.spark.histories import histories, with_histories


class PopularityOptions(NamedTuple):
    """What popularity and the bootstrap need: the share of pairs that head items hold, and a seed.

    With ``with_popularity``, popularity is evaluated beside the model.
    """

    head_share: float = 0.8
    seed: int = 0
    with_popularity: bool = True


@dataclass(frozen=True)
class HeldOut:
    """What models are evaluated on; integer ids are bigint.

    ``users`` has a row for each user in the test: id, key (of the bootstrap), and the arrays tested, ratings, seen and
    candidates, in ``n_partitions`` by id. ``counts`` (item, users) is the number of users in training that each item
    has; None without training interactions.
    """

    users: DataFrame
    n_partitions: int
    counts: DataFrame | None
    popularity: Popularity | None

    @property
    def types(self) -> dict[str, T.DataType]:
        """The types of the ids of users and items."""
        tested = self.users.schema["tested"].dataType
        assert isinstance(tested, T.ArrayType)
        return {"user": self.users.schema["id"].dataType, "item": tested.elementType}


_DEFAULT = PopularityOptions()


@contextmanager
def gathered(
    test: DataFrame,
    training: DataFrame | None = None,
    candidates: DataFrame | None = None,
    *,
    n_partitions: int,
    duplicates: str = "sum",
    popularity: PopularityOptions = _DEFAULT,
) -> Iterator[HeldOut]:
    """Gather checked interactions (user, item, rating[, timestamp]) by user; persisted until the end of the ``with``.

    ``training`` has what users have seen, and popularity is counted in it; ``candidates``, without ratings, are those
    of the sampled protocol. ``duplicates`` says what rating a pair of several rows has in the test; refused ones are
    an InputError.
    """
    by_user = partial(histories, n_partitions=n_partitions)
    pairs = _merged(with_plain_ids(test), duplicates)
    users = by_user(pairs).withColumnRenamed("item", "tested").withColumnRenamed("rating", "ratings")
    users = users.withColumn("key", F.xxhash64(F.lit(popularity.seed), F.col("id").cast("string")))
    tested = pairs.select("user").distinct()
    known = None if training is None else with_plain_ids(training).select("user", "item").distinct()
    for name, table in (("seen", known), ("candidates", candidates)):
        if table is None:
            users = users.withColumn(name, F.lit(None).cast(T.ArrayType(pairs.schema["item"].dataType)))
            continue
        of_tested = with_plain_ids(table).select("user", "item").join(tested, "user", "left_semi")
        lists = by_user(of_tested).withColumnRenamed("item", name)
        users = with_histories(users, lists, n_partitions=n_partitions)
    counts, distribution = None, None
    if known is not None and popularity.with_popularity:
        counts = known.groupBy("item").agg(F.count("*").alias("users"))
        distribution = _popularity(known, counts, popularity.head_share)
    users.persist()
    try:
        yield HeldOut(users, n_partitions, counts, distribution)
    finally:
        users.unpersist()


def with_plain_ids(table: DataFrame, *columns: str) -> DataFrame:
    """Integers of any width as bigint, so that those of test and model can be compared."""
    for column in columns or ("user", "item"):
        if not isinstance(table.schema[column].dataType, T.StringType):
            table = table.withColumn(column, F.col(column).cast("bigint"))
    return table


def _merged(test: DataFrame, duplicates: str) -> DataFrame:
    """One row per pair, with the rating that ``input.duplicates`` gives it in training."""
    rating: dict[str, Column] = {"sum": F.sum("rating"), "max": F.max("rating"), "refuse": F.max("rating")}
    rating["mean"] = rating["keep"] = F.avg("rating")
    if duplicates == "last":
        rating["last"] = F.max_by("rating", F.struct("timestamp", "rating"))
    pairs = test.groupBy("user", "item").agg(rating[duplicates].alias("rating"), F.count("*").alias("rows"))
    if duplicates == "refuse" and (repeated := pairs.where("rows > 1").head()):
        raise InputError(
            f"several rows of test.path repeat a (user, item) pair, such as {tuple(repeated)[:2]}; set test.duplicates "
            "to sum, mean, last or max to merge them"
        )
    return pairs.drop("rows")


def _popularity(pairs: DataFrame, counts: DataFrame, head_share: float) -> Popularity:
    """Of distinct pairs; the driver receives the distinct numbers of users, √(2 · pairs) at most."""
    rows = counts.groupBy("users").agg(F.count("*").alias("items")).collect()
    users, items = (np.array([row[name] for row in rows], dtype=np.int64) for name in ("users", "items"))
    return Popularity.of(pairs.select("user").distinct().count(), users, items, head_share)
