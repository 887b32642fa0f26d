"""Recommendations as a table: (query, rank, found, score), for as many queries as there are, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.types import Float64Array, Int32Array
from wals_spark.blocks.build import merge_histories
from wals_spark.errors import InputError
from wals_spark.objective.objective import Objective
from wals_spark.ranking.explanations import largest_contributions
from wals_spark.ranking.modes import Mode
from wals_spark.ranking.top_k import ItemLists, TopK, top_k
from wals_spark.spark.histories import beside, gathered_beside, partitions
from wals_spark.spark.item_table import ItemTable, OpenItems, item_table, matrix
from wals_spark.spark.session import BATCH_ROWS

_RESULTS_A_BATCH = 200_000  # rows that go back to Spark together
_QUERIES_A_BATCH = 200_000  # rows that come from it together, or fewer for the sake of their features' size
_BATCH_BYTES = 128 * 2**20


@dataclass(frozen=True)
class ExplanationTask:
    """What an executor is told besides, to find the ``n`` items of a history that add most to a score.

    ``items`` are all of the model; where popularity weighs, the weight of each is the number after its features.
    """

    items: ItemTable
    n: int
    objective: Objective
    gramian: Float64Array
    duplicates: str


@dataclass(frozen=True)
class RankTask:
    """What an executor is told: the candidates, how many of them for each query, and of what kind both are."""

    candidates: ItemTable
    k: int
    mode: Mode
    exclude_seen: bool = True
    reasons: ExplanationTask | None = None


@dataclass(frozen=True)
class Served:
    """Whom to serve: the rows of a factor table that are asked for, and how many ids are there and are not."""

    queries: DataFrame
    known: int
    unknown: int


def served(factors: DataFrame, whom: DataFrame | None) -> Served:
    """Those of a factor table (id, features) that ``whom`` (id, each once) names; None names all."""
    if whom is None:
        return Served(factors, factors.count(), 0)
    queries = factors.join(whom, "id", "left_semi")
    known = queries.count()
    return Served(queries, known, whom.count() - known)


def candidates(factors: DataFrame, *, allowed: DataFrame | None, blocked: DataFrame | None) -> DataFrame:
    """The rows of a factor table that may be recommended; ``allowed`` and ``blocked`` have a column ``id``."""
    if allowed is not None:
        factors = factors.join(allowed, "id", "left_semi")
    if blocked is not None:
        factors = factors.join(blocked, "id", "left_anti")
    return factors


def refuse_small_catalogue(rows: int, k: int, what: str) -> None:
    """Refuse to find more than there are.

    Raises
    ------
    InputError
        If there are fewer than ``k`` candidates.
    """
    if rows < k:
        raise InputError(
            f"recommend.k = {k}, but there are {rows:,} {what}s to recommend (those of the model, less what "
            "allowed.path and blocked.path take away); ask for fewer"
        )


def popularity(pairs: DataFrame, items: DataFrame) -> DataFrame:
    """Items as the factors of a model of rank 1: how many users each has, whatever the rows of a (user, item) pair."""
    of_item = pairs.select("user", F.col("item").alias("id")).distinct().groupBy("id")
    counts = of_item.agg(F.count("*").cast("float").alias("users"))
    users = F.coalesce("users", F.lit(0.0).cast("float"))
    return items.select("id").join(counts, "id", "left").select("id", F.array(users).alias("features"))


def without_factors(ids: DataFrame, factors: DataFrame) -> DataFrame:
    """Those of ``ids`` that a factor table does not have, as queries of a model of rank 1."""
    one = F.array(F.lit(1.0).cast("float")).alias("features")
    return ids.join(factors, "id", "left_anti").select("id", one)


def explanation_task(
    items: DataFrame,
    weights: DataFrame | None,
    *,
    n: int,
    objective: Objective,
    gramian: Float64Array,
    duplicates: str,
) -> ExplanationTask:
    """From the model's items (id, features), their weights (id, weight) if they have any, and what was minimised."""
    width = len(gramian)
    if weights is not None:
        weight = F.array(F.col("weight").cast("float"))
        items = items.join(weights, "id").select("id", F.concat("features", weight).alias("features"))
        width += 1
    return ExplanationTask(item_table(items, width=width), n, objective, gramian, duplicates)


def recommend(queries: DataFrame, task: RankTask, *, n_queries: int, pairs: DataFrame | None = None) -> DataFrame:
    """The best candidates of each query: the query's id, ``rank`` from 1, the id found, ``score``, and its reasons.

    Parameters
    ----------
    queries
        Columns ``id`` and ``features``, of ``n_queries`` rows.
    pairs
        Interactions: user, item and, for reasons, the columns that `ratings.check` gives. They are left out if the
        task says so. What is similar leaves out the query itself.
    """
    mode, spark = task.mode, queries.sparkSession
    histories = None if mode.cosine else pairs
    batch = min(_QUERIES_A_BATCH, _BATCH_BYTES // (4 * task.candidates.width))
    spark.conf.set(BATCH_ROWS, str(batch))
    n = partitions(n_queries, task.candidates.rows, spark.sparkContext.defaultParallelism)
    rows = queries.select("id", "features")
    if histories is None:
        rows = rows.repartition(n, "id")
    else:
        used = histories if task.reasons else histories.select("user", "item")
        rows = beside(rows, used, by=mode.query, n_partitions=n)
    found = task.candidates.id_type
    fields = [
        T.StructField(mode.query, queries.schema["id"].dataType, False),
        T.StructField("rank", T.IntegerType(), False),
        T.StructField(mode.column, found, False),
        T.StructField("score", T.FloatType(), False),
    ]
    if task.reasons:
        reason = T.StructType([T.StructField("item", found, False), T.StructField("score", T.FloatType(), False)])
        fields.append(T.StructField("because", T.ArrayType(reason, False), False))
    rank = partial(rank_batches, task=task, histories=histories is not None)
    return rows.mapInArrow(rank, T.StructType(fields))


def rank_batches(
    batches: Iterable[pa.RecordBatch], *, task: RankTask, histories: bool = False
) -> Iterator[pa.RecordBatch]:
    """On an executor: queries (id, features), with ``histories`` a partition of `beside`, in; ranked rows out."""
    items = task.candidates.opened()
    step = max(1, _RESULTS_A_BATCH // task.k)
    for batch in gathered_beside(batches) if histories else batches:
        for start in range(0, batch.num_rows, step):
            some = batch.slice(start, step)
            queries = matrix(some.column("features"), width=task.candidates.width, unit_length=task.mode.cosine)
            found = top_k(queries, items.features, task.k, excluded=_excluded(some, items, task))
            rows = _as_rows(some.column("id"), found, items, task.mode)
            if task.reasons:
                rows["because"] = _because(some, found, items, task.reasons)
            yield pa.record_batch(list(rows.values()), names=list(rows))


def _excluded(batch: pa.RecordBatch, items: OpenItems, task: RankTask) -> ItemLists | None:
    """What no query of a batch is to find: itself among what is similar, else what it has already."""
    if task.mode.cosine:
        return ItemLists.of(np.arange(len(batch)), items.positions(batch.column("id")), len(batch))
    if task.exclude_seen and task.mode.result in batch.schema.names:
        return items.lists(batch.column(task.mode.result))
    return None


def _as_rows(ids: pa.Array, found: TopK, items: OpenItems, mode: Mode) -> dict[str, pa.Array]:
    """One row for each query and place, none for places that nobody took."""
    query, place = np.nonzero(found.positions >= 0)
    return {
        mode.query: ids.take(as_arrow(query)),
        "rank": as_arrow((place + 1).astype(np.int32)),
        mode.column: _taken(items, found.positions[query, place]),
        "score": as_arrow(found.scores[query, place]),
    }


def _because(batch: pa.RecordBatch, found: TopK, candidates: OpenItems, task: ExplanationTask) -> pa.Array:
    """The largest shares of each score, a list for each row that `_as_rows` makes."""
    items, width = task.items.opened(), len(task.gramian)
    history = batch.column("item")
    lengths = as_numpy(pc.list_value_length(history), null=0)
    user, positions = np.repeat(np.arange(len(history)), lengths), items.positions(history.flatten())
    known = positions >= 0
    names = {"rating", "weight", "timestamp"}.intersection(batch.schema.names)
    numbers = {name: as_numpy(batch.column(name).flatten())[known] for name in names}
    block, _ = merge_histories(
        user[known], positions[known], numbers["rating"], numbers.get("weight"), numbers.get("timestamp"),
        shape=(len(history), task.items.rows), duplicates=task.duplicates,
    )  # fmt: skip
    reasons = largest_contributions(
        block,
        items.features[:, :width],
        task.gramian,
        task.objective,
        candidates.features[found.positions],
        task.n,
        multipliers=items.features[:, width].astype(np.float64) if task.items.width > width else None,
    )
    there = reasons.positions[found.positions >= 0]  # (n_rows, n)
    offsets = np.concatenate([[0], np.cumsum((there >= 0).sum(axis=1))]).astype(np.int32)
    shares = as_arrow(reasons.shares[found.positions >= 0][there >= 0])
    return pa.ListArray.from_arrays(
        as_arrow(offsets), pa.StructArray.from_arrays([_taken(items, there[there >= 0]), shares], ["item", "score"])
    )


def _taken(items: OpenItems, positions: Int32Array) -> pa.Array:
    """The ids at these positions, in the type that Spark knows."""
    ids = items.ids.take(as_arrow(positions))
    return ids.cast(pa.string()) if pa.types.is_large_string(ids.type) else ids
