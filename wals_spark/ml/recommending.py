"""Recommendations in MLlib's shape: a row per query, and its best candidates as an array of structs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.errors import ConfigError
from wals_spark.ml.connect import rank_in_groups
from wals_spark.ranking.modes import MODES, Mode, ModeName
from wals_spark.spark.columns import id_column
from wals_spark.spark.histories import in_type_of
from wals_spark.spark.item_table import ItemTable, SentTables
from wals_spark.spark.model.open import FactorTables
from wals_spark.spark.plans import expected_bytes
from wals_spark.spark.reading import ids_of
from wals_spark.spark.recommend import rank
from wals_spark.spark.recommend_tasks import ListNames, RankTask
from wals_spark.spark.session import session_of

_MANY_QUERIES = 1_000_000  # where Spark has no idea of their number


@dataclass(frozen=True)
class Asked:
    """What is recommended, how many per query, to whom (None: all), and the pairs that are left out."""

    mode: ModeName
    k: int
    queries: DataFrame | None = None
    exclude: DataFrame | None = None


def recommended(tables: FactorTables, asked: Asked, columns: Mapping[str, str], sent: SentTables) -> DataFrame:
    """Rank candidates for queries; ``columns`` are the names of the columns of users and of items.

    Raises
    ------
    ConfigError, InputError
        If fewer than one candidate is asked for, or a column of ids cannot be used.
    """
    mode = MODES[asked.mode]
    if asked.k < 1:
        raise ConfigError(f"{asked.k} {mode.result}s per {mode.query}: at least 1 has to be asked for")
    factors = {"user": tables.user_factors, "item": tables.item_factors}
    queries, candidates = factors[mode.query], factors[mode.result]
    if asked.queries is not None:
        name = f"{mode.query}Col"
        queries = queries.join(ids_of(asked.queries, columns[mode.query], queries, setting=name), "id", "left_semi")
    pairs = None if asked.exclude is None else _known(asked.exclude, tables, columns)
    width = tables.rank if mode.cosine else tables.width
    if not hasattr(candidates, "_jdf"):
        stub = ItemTable("", 0, width, candidates.schema["id"].dataType)
        task = RankTask(stub, asked.k, mode, pairs is not None, lists=_names(mode, columns))
        return rank_in_groups(queries, candidates, task, pairs)
    with session_of(candidates.sparkSession):
        table = sent.table(candidates, width=width, unit_length=mode.cosine, key=f"{mode.result} {mode.cosine}")
        k = min(asked.k, max(table.rows, 1))
        task = RankTask(table, k, mode, pairs is not None, lists=_names(mode, columns))
        size = expected_bytes(factors[mode.query])
        n_queries = _MANY_QUERIES if size is None else size // (4 * tables.width)
        return rank(queries, task, n_queries=n_queries, pairs=pairs)


def _names(mode: Mode, columns: Mapping[str, str]) -> ListNames:
    if mode.cosine:
        return ListNames(columns[mode.query], "similar", columns[mode.result], "cosine")
    return ListNames(columns[mode.query], "recommendations", columns[mode.result], "rating")


def _known(pairs: DataFrame, tables: FactorTables, columns: Mapping[str, str]) -> DataFrame:
    """Pairs as user and item, in the types of the model."""
    ids = (id_column(pairs, f"{side}Col", columns[side]).alias(side) for side in ("user", "item"))
    known = pairs.select(*ids).where(F.col("user").isNotNull() & F.col("item").isNotNull())
    for side, factors in (("user", tables.user_factors), ("item", tables.item_factors)):
        known = in_type_of(known, side, factors, setting=f"{side}Col = {columns[side]}")
    return known
