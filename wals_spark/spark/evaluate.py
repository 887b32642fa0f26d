"""A model judged on held-out interactions, beside popularity: one pass over the users, of which nothing is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy
from wals_spark.arrays.types import Int32Array
from wals_spark.errors import ConfigError, InputError
from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.metrics import Popularity
from wals_spark.evaluation.results import Evaluation, metric_entries
from wals_spark.evaluation.user_batch import BatchResult, Catalogue, Pairs, Protocol, UserBatch, evaluate_batch
from wals_spark.spark.held_out import HeldOut, with_plain_ids
from wals_spark.spark.histories import refuse_other_type
from wals_spark.spark.item_table import ItemTable, OpenItems, item_table, matrix
from wals_spark.spark.session import BATCH_ROWS

_USERS_AT_A_TIME = 16_384
_NOWHERE = np.iinfo(np.int32).max


def evaluate(
    held_out: HeldOut, user_factors: DataFrame, item_factors: DataFrame, *, width: int, protocol: Protocol
) -> Evaluation:
    """Judge factor tables (id, features); ``width`` is the number of features, those of biases included.

    Raises
    ------
    ConfigError
        If a list is to be longer than the catalogue.
    InputError
        If ids are of other types than the model's, or no user is left to be judged.
    """
    for side, factors in (("user", user_factors), ("item", item_factors)):
        refuse_other_type(held_out.types[side], factors.schema["id"].dataType, setting=f"test.{side}")
    ids = with_plain_ids(item_factors, "id")
    items = item_table(ids, width=width)
    longest = max(protocol.measures.ks)
    if longest > items.rows:
        raise ConfigError(f"evaluate.k = {longest}: the model has no more than {items.rows} items")
    counts = None if held_out.counts is None else item_table(_with_counts(ids, held_out.counts), width=1)
    rows = with_plain_ids(user_factors, "id").repartition(held_out.n_partitions, "id")
    task = EvaluateTask(items, counts, held_out.popularity, protocol)
    spark = item_factors.sparkSession
    spark.sparkContext.setJobDescription("judge users")
    batch = spark.conf.get(BATCH_ROWS) or "10000"
    spark.conf.set(BATCH_ROWS, str(_USERS_AT_A_TIME))  # rows are long: factors and histories
    results = (
        held_out.users.join(rows, "id", "left").mapInArrow(partial(_evaluate_users, task=task), _RESULTS).persist()
    )
    try:
        summaries = results.where("counts is not null").select("sums", "counts").collect()  # one a task: 100 KB or so
        reached = _reached(results)
    finally:
        spark.conf.set(BATCH_ROWS, batch)
        results.unpersist()
    counted = Counter[str]()
    for row in summaries:
        counted.update(json.loads(row["counts"]))
    if not counted["users"]:
        raise InputError(
            f"no user is left to be judged: {counted['test_users_unknown']} of {counted['test_users']} users in "
            f"test.path are not in the model, {counted['test_pairs_in_training']} pairs of the others are in input.path"
        )
    sums = MetricSums.merged(_unpacked(row["sums"], protocol.replicates) for row in summaries if row["sums"])
    metrics = metric_entries(protocol.measures, sums, reached, items.rows)
    return Evaluation(metrics, {**counted, "items": items.rows})


@dataclass(frozen=True)
class EvaluateTask:
    """All a task needs besides its users."""

    items: ItemTable
    counts: ItemTable | None
    popularity: Popularity | None
    protocol: Protocol


_RESULTS = "sums binary, counts string, model int, item int, place int"
_ARROW_RESULTS = pa.schema(
    [
        ("sums", pa.binary()),
        ("counts", pa.string()),
        ("model", pa.int32()),
        ("item", pa.int32()),
        ("place", pa.int32()),
    ]
)


def _evaluate_users(batches: Iterable[pa.RecordBatch], *, task: EvaluateTask) -> Iterator[pa.RecordBatch]:
    """On an executor: one row of sums and counts, and rows of the items that were recommended to anybody."""
    items = task.items.opened()
    catalogue = Catalogue(
        items.features, None if task.counts is None else task.counts.opened().features, task.popularity
    )
    n_models = 1 if catalogue.counts is None else 2
    best = np.full((n_models, len(items.features)), _NOWHERE, dtype=np.int32)  # place of each item in any list
    sums, counts = None, Counter[str]()
    for batch in batches:
        for begin in range(0, batch.num_rows, _USERS_AT_A_TIME):
            users = batch.slice(begin, _USERS_AT_A_TIME)
            known = users.filter(users["features"].is_valid())
            counts.update(test_users=len(users), test_users_unknown=len(users) - len(known))
            if not len(known):
                continue
            outcome = evaluate_batch(_encoded(known, items), catalogue, task.protocol)
            counts.update(outcome.counts)
            sums = outcome.sums if sums is None else sums + outcome.sums
            _keep_best(best, outcome)
    packed = pa.nulls(1, pa.binary()) if sums is None else as_binary([_packed(sums)])
    yield _results(sums=packed, counts=as_binary([json.dumps(counts).encode()], pa.string()))
    for model, places in enumerate(best):
        found = np.flatnonzero(places < _NOWHERE)
        columns = {"model": np.full(len(found), model), "item": found, "place": places[found]}
        yield _results(**{name: as_arrow(numbers.astype(np.int32)) for name, numbers in columns.items()})


def _encoded(users: pa.RecordBatch, items: OpenItems) -> UserBatch:
    """Users, all of them known to the model, as numbers."""
    held_out, seen, candidates = (_pairs(users[name], items) for name in ("tested", "seen", "candidates"))
    return UserBatch(
        bootstrap_keys=as_numpy(users["key"]).view(np.uint64),
        factors=matrix(users["features"], width=items.features.shape[1]),
        held_out=held_out,
        ratings=as_numpy(users["ratings"].flatten()),
        seen=seen,
        candidates=candidates,
    )


def _pairs(lists: pa.ListArray, items: OpenItems) -> Pairs:
    lengths = as_numpy(pc.list_value_length(lists), null=0)
    return Pairs(np.repeat(np.arange(len(lists)), lengths), items.positions(lists.flatten()))


def _keep_best(best: Int32Array, outcome: BatchResult) -> None:
    for places, (items, found) in zip(best, outcome.recommended, strict=False):
        places[items] = np.minimum(places[items], found)


def _results(**columns: pa.Array) -> pa.RecordBatch:
    n = len(next(iter(columns.values())))
    arrays = [columns.get(field.name, pa.nulls(n, field.type)) for field in _ARROW_RESULTS]
    return pa.RecordBatch.from_arrays(arrays, schema=_ARROW_RESULTS)


def _packed(sums: MetricSums) -> bytes:
    return np.stack([sums.numerators, sums.denominators]).tobytes()


def _unpacked(packed: bytes, replicates: int) -> MetricSums:
    return MetricSums(*np.frombuffer(packed).reshape(2, 1 + replicates, -1))


def _reached(results: DataFrame) -> list[dict[int, int]]:
    """For each model, how many items have each best place: as many rows as the longest list is long."""
    best = results.where("item is not null").groupBy("model", "item").agg(F.min("place").alias("place"))
    rows = best.groupBy("model", "place").agg(F.count("*").alias("items")).collect()
    return [{row["place"]: row["items"] for row in rows if row["model"] == model} for model in range(2)]


def _with_counts(ids: DataFrame, counts: DataFrame) -> DataFrame:
    """Items as rows of one number, exact up to 2^24: beyond, counts closer than one in 16 million tie."""
    found = ids.select("id").join(counts.withColumnRenamed("item", "id"), "id", "left")
    return found.select("id", F.array(F.coalesce("users", F.lit(0)).cast("float")).alias("features"))
