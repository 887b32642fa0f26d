"""Recommendations without broadcasts, for Spark Connect: each group of queries meets a copy of all candidates."""

from __future__ import annotations

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.errors import ConfigError
from wals_spark.spark.recommend import schema_of
from wals_spark.spark.recommend_tasks import RankTask, rank_group

_QUERIES_PER_GROUP = 20_000  # a group is in a worker's memory whole, and so are the candidates


def rank_in_groups(queries: DataFrame, candidates: DataFrame, task: RankTask, pairs: DataFrame | None) -> DataFrame:
    """As `recommend.rank`, by a shuffle of the candidates to all groups.

    Raises
    ------
    ConfigError
        Before Spark 4, which brought what this needs.
    """
    n_groups = max(1, -(-queries.count() // _QUERIES_PER_GROUP))
    rows = queries.select("id", "features")
    if pairs is not None:
        seen = pairs.select(F.col(task.mode.query).alias("id"), F.col(task.mode.result).alias("seen"))
        rows = rows.unionByName(seen, allowMissingColumns=True)
    grouped = rows.withColumn("group", F.pmod(F.xxhash64("id"), F.lit(n_groups)).cast("int")).groupBy("group")
    groups = queries.sparkSession.range(n_groups).select(F.col("id").cast("int").alias("group"))
    # Under names of their own: where both sides come from one table, Spark takes columns of one for those of the other.
    named = candidates.select(F.col("id").alias("candidate"), F.col("features").alias("candidate_features"))
    of_group = named.crossJoin(groups).groupBy("group")
    together = grouped.cogroup(of_group)
    if not hasattr(together, "applyInArrow"):
        raise ConfigError("recommendations with Spark Connect need Spark 4 or newer")
    return together.applyInArrow(partial(rank_group, task=task), schema_of(task, queries.schema["id"].dataType))
