"""Ids that stand for another are replaced by it."""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.errors import InputError
from wals_spark.settings.tables import Aliases
from wals_spark.spark.columns import id_column
from wals_spark.spark.histories import in_type_of
from wals_spark.spark.reading import read

logger = logging.getLogger("wals_spark")


def with_aliases_replaced(shaped: DataFrame, settings: Aliases, section: str) -> DataFrame:
    """Interactions with each id that is an alias replaced by the id that it stands for, once.

    Rows of the aliases without one of the two ids are left out.

    Raises
    ------
    InputError
        If the aliases cannot be read, are of another type than the ids, or one stands for several ids.
    """
    raw = read(shaped.sparkSession, settings, section=section)
    pairs = raw.select(
        id_column(raw, f"{section}.alias", settings.alias).alias("alias"),
        id_column(raw, f"{section}.id", settings.id).alias("stands_for"),
    )
    whole = pairs.where("alias <> '' and stands_for <> ''" if _is_text(pairs) else "true").dropna()
    ids = shaped.select(F.col(settings.of).alias("id"))
    for column, setting in (("alias", "alias"), ("stands_for", "id")):
        whole = in_type_of(whole, column, ids, setting=f"{section}.{setting}")
    targets = whole.groupBy("alias").agg(F.min("stands_for").alias("stands_for"), F.max("stands_for").alias("other"))
    targets = targets.persist()
    several = targets.where("stands_for <> other").limit(5).collect()
    if several:
        examples = ", ".join(f"{row['alias']!r} for {row['stands_for']!r} and {row['other']!r}" for row in several)
        raise InputError(f"{settings.named(section)}: an alias stands for several ids: {examples}")
    n_rows, n_targets = pairs.count(), targets.count()
    logger.info("%s: %d aliases of %s ids, in %d rows", section, n_targets, settings.of, n_rows)
    replaced = shaped.join(targets.drop("other"), shaped[settings.of] == targets["alias"], "left")
    return replaced.withColumn(settings.of, F.coalesce("stands_for", settings.of)).select(*shaped.columns)


def _is_text(pairs: DataFrame) -> bool:
    return all(kind == "string" for _, kind in pairs.dtypes)
