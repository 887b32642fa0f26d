"""Negatives: unobserved pairs that weigh more than others, added to the interactions before blocks are built."""

from __future__ import annotations

import logging
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.settings.recommend import Recommend
from wals_spark.settings.training import POPULARITY, Negatives
from wals_spark.spark.checking import Interactions
from wals_spark.spark.histories import in_type_of
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.model.open import open_version
from wals_spark.spark.recommend import Request, recommend, write_recommendations

logger = logging.getLogger("wals_spark")


def with_negatives(interactions: Interactions, settings: Negatives, path: str) -> Interactions:
    """The interactions, and negatives of their users among their items, which are written to ``path`` first.

    A negative is a row with a rating of 0 of a pair that is not among the interactions.

    Raises
    ------
    InputError
        If a source of negatives cannot be used.
    """
    if not settings.per_user:
        return interactions
    pairs = interactions.table.select("user", "item").distinct()
    for number, source in enumerate(settings.sources):
        part = f"{path}/source={number}"
        if source == POPULARITY:
            pairs.sparkSession.sparkContext.setJobDescription("draw popular items")
            _popular_items(pairs, settings).write.parquet(part)
        else:
            _best_unseen_items(pairs, source, settings.per_user, part)
    rows = _as_interactions(pairs.sparkSession.read.parquet(path), interactions.table)
    negatives = replace(interactions, dropped=0).with_rows(rows)
    logger.info("%s negatives from %s", f"{negatives.rows:,}", " and ".join(settings.sources))
    return replace(interactions.plus(negatives), negatives=negatives.rows)


def _best_unseen_items(pairs: DataFrame, root: str, per_user: int, path: str) -> None:
    """Write the unseen items that the served version of a model ranks highest for each of its users."""
    model = open_version(pairs.sparkSession, root, "", setting="train.negatives.from")
    known = in_type_of(pairs, "user", model.user_factors, setting="train.negatives.from: input.user")
    known = in_type_of(known, "item", model.item_factors, setting="train.negatives.from: input.item")
    request = Request(
        Recommend(k=per_user, exclude_seen=True),
        queries=known.select(F.col("user").alias("id")).distinct(),
        allowed=known.select(F.col("item").alias("id")).distinct(),
        interactions=known,
    )
    sent = SentTables()  # until all is written
    rows = recommend(model, request, sent)
    columns = (F.col(name).cast(pairs.schema[name].dataType) for name in pairs.columns)
    write_recommendations(rows.select(*columns), model, path)


def _popular_items(pairs: DataFrame, settings: Negatives) -> DataFrame:
    """About ``per_user`` items per user, drawn in proportion to their users; those that the user has are left out.

    An item of a pair drawn at random is drawn in proportion to its users. Pairs and draws meet by hashes: a draw
    meets a Poisson number of pairs, one in the mean.
    """
    n_pairs, seed = pairs.count(), F.lit(settings.seed)
    numbers = F.explode(F.sequence(F.lit(1), F.lit(settings.per_user)))
    draws = pairs.select("user").distinct().withColumn("number", numbers)
    draws = draws.select("user", F.pmod(F.xxhash64(seed, "user", "number"), F.lit(n_pairs)).alias("draw"))
    drawn = pairs.select("item", F.pmod(F.xxhash64(seed, "user", "item"), F.lit(n_pairs)).alias("draw"))
    return draws.join(drawn, "draw").select("user", "item").join(pairs, ["user", "item"], "left_anti")


def _as_interactions(negatives: DataFrame, table: DataFrame) -> DataFrame:
    """Pairs, each once, in the columns of ``table``: a rating of 0, weight 1, time 0."""
    values = {"rating": 0.0, "weight": 1.0, "timestamp": 0.0}
    once = negatives.select("user", "item").distinct()
    return once.select(*(F.lit(values[name]).alias(name) if name in values else name for name in table.columns))
