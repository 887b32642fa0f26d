"""Recommends: the best candidates of each query, as a table of (query, rank, candidate, score)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import msgspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError
from wals_spark.ranking.modes import MODES
from wals_spark.settings.recommend import Recommend, RecommendSettings
from wals_spark.settings.tables import Input
from wals_spark.spark.checking import check
from wals_spark.spark.histories import beside, in_type_of, partitions
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.model.exports import note_export
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.plans import n_partitions
from wals_spark.spark.reading import read, read_ids
from wals_spark.spark.recommend_tasks import ExplanationTask, RankTask, rank_batches, rank_unseen
from wals_spark.spark.seen_pairs import beside_seen
from wals_spark.spark.session import arrow_batch_rows
from wals_spark.spark.storage import Storage, new_folder

logger = logging.getLogger("wals_spark")

_QUERIES_PER_BATCH = 200_000  # rows that come from Spark together, or fewer for the sake of their features' size
_BATCH_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Request:
    """What is recommended to whom.

    Attributes
    ----------
    options
        The mode, how many per query, and how.
    queries, allowed, blocked
        Ids (id) of queries, and of what may and may not be recommended; None: all, all and none.
    interactions
        Checked, with ids in the types of the model: what users have seen.
    """

    options: Recommend
    queries: DataFrame | None = None
    allowed: DataFrame | None = None
    blocked: DataFrame | None = None
    interactions: DataFrame | None = None


def run_recommend(spark: SparkSession, settings: RecommendSettings) -> None:
    """Write the recommendations of a stored model."""
    with new_folder(spark, settings.output.path) as folder:
        model = open_version(spark, settings.model.path, settings.model.version)
        factors = {"user": model.user_factors, "item": model.item_factors}
        query_factors, candidate_factors = factors[settings.mode.query], factors[settings.mode.result]
        ids = {
            section: read_ids(
                spark, table, query_factors if section == "queries" else candidate_factors, section=section
            )
            for section, table in settings.id_tables.items()
        }
        pairs = None
        if settings.needs_interactions:
            pairs = known_interactions(model, read(spark, settings.input), settings.input, settings.recommend)
        sent = SentTables()  # until all is written
        rows = recommend(model, Request(settings.recommend, interactions=pairs, **ids), sent)
        write_recommendations(rows, model, folder.path())
        n_rows = spark.read.parquet(folder.path()).count()
    note_export(model, Storage(spark, settings.output.path).root, "recommendations")
    logger.info("wrote %s recommendations to %s", f"{n_rows:,}", settings.output.path)


def write_recommendations(rows: DataFrame, model: ModelVersion, path: str) -> None:
    """Rank, and write what `recommend` gives."""
    model.spark.sparkContext.setJobDescription("rank and write")
    with arrow_batch_rows(model.spark, min(_QUERIES_PER_BATCH, _BATCH_BYTES // (4 * model.width))):
        rows.write.mode("append").parquet(path)  # to a folder that is ours


def known_interactions(model: ModelVersion, raw: DataFrame, source: Input, options: Recommend) -> DataFrame:
    """Check interactions, their rows read with the meaning that they had in training, their ids as the model's.

    Without explanations only the pairs are used, and no times are needed.
    """
    trained = model.config
    if options.because:
        source = trained.as_trained(source)
    else:
        source = msgspec.structs.replace(source, nonpositive=trained.input.nonpositive, duplicates="sum")
    decay = trained.decay() if options.because else None
    pairs = check(raw, source, implicit=trained.train.implicit, decay=decay).table
    pairs = in_type_of(pairs, "user", model.user_factors, setting=f"input.user = {source.user}")
    return in_type_of(pairs, "item", model.item_factors, setting=f"input.item = {source.item}")


def recommend(model: ModelVersion, request: Request, sent: SentTables) -> DataFrame:
    """Rank candidates for the queries of a model, with what executors have been ``sent`` of it, for as long as that is.

    Columns: the id of the query, ``rank`` from 1, the recommended id, ``score``; with explanations ``because``; with
    popular items for cold-start users ``source``.

    Raises
    ------
    InputError
        If no query is in the model, or there are fewer candidates than are asked for.
    """
    options, mode = request.options, MODES[request.options.mode]
    factors = {"user": model.user_factors, "item": model.item_factors}
    selected = select_queries(factors[mode.query], request.queries)
    logger.info("%s %ss of model %s", f"{selected.known:,}", mode.query, model.version)
    if selected.unknown:
        logger.warning("%s %ss are not in the model", f"{selected.unknown:,}", mode.query)
    popular = options.cold_start == "popular" and selected.unknown > 0
    if not selected.known and not popular:
        raise InputError(f"queries: none of the ids is a {mode.query} of the model")

    catalogue = candidates(factors[mode.result], allowed=request.allowed, blocked=request.blocked)
    width = int(model.manifest["rank"]) if mode.cosine else model.width
    is_whole = request.allowed is None and request.blocked is None
    key = f"{mode.result} {mode.cosine}" if is_whole else ""
    table = sent.table(catalogue, width=width, unit_length=mode.cosine, key=key)
    refuse_small_catalogue(table.rows, options.k, mode.result)
    explanations = explanation_task(model, options.because, sent) if options.because else None
    task = RankTask(table, options.k, mode, options.exclude_seen, explanations)
    rows = rank(selected.queries, task, n_queries=selected.known, pairs=request.interactions)
    if not popular or request.interactions is None or request.queries is None:
        return rows
    by_popularity = sent.table(popularity(request.interactions, catalogue), width=1)
    cold = without_factors(request.queries, factors[mode.query])
    task = replace(task, candidates=by_popularity, explanations=None)
    fallback = rank(cold, task, n_queries=selected.unknown, pairs=request.interactions)
    fallback = fallback.withColumn("source", F.lit("popular"))
    return rows.withColumn("source", F.lit("model")).unionByName(fallback, allowMissingColumns=True)


class SelectedQueries(NamedTuple):
    """The rows of a factor table that are asked for, and how many of the ids it has and has not."""

    queries: DataFrame
    known: int
    unknown: int


def select_queries(factors: DataFrame, ids: DataFrame | None) -> SelectedQueries:
    """The rows of a factor table (id, features) with these ids, each once; None stands for all."""
    if ids is None:
        return SelectedQueries(factors, factors.count(), 0)
    queries = factors.join(ids, "id", "left_semi")
    known = queries.count()
    return SelectedQueries(queries, known, ids.count() - known)


def candidates(factors: DataFrame, *, allowed: DataFrame | None, blocked: DataFrame | None) -> DataFrame:
    """The rows of a factor table that may be recommended; ``allowed`` and ``blocked`` have a column ``id``."""
    if allowed is not None:
        factors = factors.join(allowed, "id", "left_semi")
    if blocked is not None:
        factors = factors.join(blocked, "id", "left_anti")
    return factors


def refuse_small_catalogue(rows: int, k: int, entity: str) -> None:
    """Refuse to recommend more than there are.

    Raises
    ------
    InputError
        If there are fewer than ``k`` candidates.
    """
    if rows < k:
        raise InputError(
            f"recommend.k = {k}, but there are {rows:,} {entity}s to recommend (those of the model, less what "
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


def explanation_task(model: ModelVersion, n: int, sent: SentTables) -> ExplanationTask:
    """What tasks need of the model to explain a score by ``n`` items of the history.

    Raises
    ------
    InputError
        If factors are non-negative: then a score is no sum over the history.
    """
    objective, items = model.user_objective, model.item_factors
    if objective.nonnegative:
        raise InputError("recommend.because: a score of non-negative factors is no sum over the user's history")
    gramian, weights = model.gramians["items"], model.item_weights
    width = len(gramian)
    if weights is not None:
        weight = F.array(F.col("weight").cast("float"))
        items = items.join(weights, "id").select("id", F.concat("features", weight).alias("features"))
        width += 1
    duplicates = model.config.input.duplicates
    return ExplanationTask(sent.table(items, width=width), n, objective, gramian, duplicates)


def rank(queries: DataFrame, task: RankTask, *, n_queries: int, pairs: DataFrame | None = None) -> DataFrame:
    """The best candidates of each query: its id, ``rank`` from 1, the candidate's id, ``score``, and explanations.

    Where the task asks for lists, a row per query with a list of candidates and scores.

    Parameters
    ----------
    queries
        Columns ``id`` and ``features``, of ``n_queries`` rows.
    pairs
        Interactions: user, item and, for explanations, the columns that `check` returns. They are left out of the
        recommendations if the task says so. What is similar leaves out the query itself.
    """
    mode, cores = task.mode, queries.sparkSession.sparkContext.defaultParallelism
    histories = None if mode.cosine else pairs
    n = partitions(n_queries, task.candidates.rows, cores)
    rows = queries.select("id", "features")
    id_type = queries.schema["id"].dataType
    if histories is None:
        if (n_partitions(rows) or 0) < n:
            rows = rows.repartition(n, "id")
        batches = partial(rank_batches, task=task)
    elif task.explanations:
        rows = beside(rows, histories, by=mode.query, n_partitions=n)
        batches = partial(rank_batches, task=task, histories=True)
    else:
        rows = beside_seen(rows, histories, by=mode.query, seen=mode.result, n_partitions=n)
        batches = partial(rank_unseen, task=task)
    return rows.mapInArrow(batches, schema_of(task, id_type))


def schema_of(task: RankTask, id_type: T.DataType) -> T.StructType:
    """The columns that tasks return for queries of a type."""
    mode, candidate_type, names = task.mode, task.candidates.id_type, task.lists
    if names is not None:
        best = T.StructType([T.StructField(names.candidate, candidate_type), T.StructField(names.score, T.FloatType())])
        return T.StructType([T.StructField(names.query, id_type), T.StructField(names.lists, T.ArrayType(best))])
    fields = [
        T.StructField(mode.query, id_type, False),
        T.StructField("rank", T.IntegerType(), False),
        T.StructField(mode.column, candidate_type, False),
        T.StructField("score", T.FloatType(), False),
    ]
    if task.explanations:
        contribution = [T.StructField("item", candidate_type, False), T.StructField("score", T.FloatType(), False)]
        fields.append(T.StructField("because", T.ArrayType(T.StructType(contribution), False), False))
    return T.StructType(fields)
