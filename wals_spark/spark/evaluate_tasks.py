"""What an executor does to evaluate a model: users with their held-out items in, metric sums out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy
from wals_spark.arrays.types import Int32Array
from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.metrics import Popularity
from wals_spark.evaluation.user_batch import BatchResult, Catalogue, Pairs, Protocol, UserBatch, evaluate_batch
from wals_spark.spark.item_table import ItemTable, OpenItems, matrix

USERS_PER_BATCH = 16_384
RESULTS = "sums binary, counts string, model int, item int, rank int"
"""Two kinds of rows: metric sums and counts of a task; and items that it recommended, with the best rank of each."""

_ARROW_RESULTS = pa.schema(
    [
        ("sums", pa.binary()),
        ("counts", pa.string()),
        ("model", pa.int32()),
        ("item", pa.int32()),
        ("rank", pa.int32()),
    ]
)
_NOT_RECOMMENDED = np.iinfo(np.int32).max


@dataclass(frozen=True)
class EvaluateTask:
    """All that a task needs besides its users."""

    items: ItemTable
    counts: ItemTable | None
    popularity: Popularity | None
    protocol: Protocol


def evaluate_users(batches: Iterable[pa.RecordBatch], *, task: EvaluateTask) -> Iterator[pa.RecordBatch]:
    """Evaluate users: one row of sums and counts, and one row per item that was recommended to any of them."""
    items = task.items.opened()
    popularity = None if task.counts is None else task.counts.opened().features
    catalogue = Catalogue(items.features, popularity, task.popularity)
    n_models = 1 if popularity is None else 2
    best_ranks = np.full((n_models, len(items.features)), _NOT_RECOMMENDED, dtype=np.int32)
    sums, counts = None, Counter[str]()
    for users in _slices(batches):
        known = users.filter(users["features"].is_valid())
        counts.update(test_users=len(users), test_users_unknown=len(users) - len(known))
        if not len(known):
            continue
        result = evaluate_batch(_encoded(known, items), catalogue, task.protocol)
        counts.update(result.counts)
        sums = result.sums if sums is None else sums + result.sums
        _keep_best(best_ranks, result)
    packed = pa.nulls(1, pa.binary()) if sums is None else as_binary([_packed(sums)])
    yield _results(sums=packed, counts=as_binary([json.dumps(counts).encode()], pa.string()))
    for model, ranks in enumerate(best_ranks):
        recommended = np.flatnonzero(ranks < _NOT_RECOMMENDED)
        columns = {"model": np.full(len(recommended), model), "item": recommended, "rank": ranks[recommended]}
        yield _results(**{name: as_arrow(numbers.astype(np.int32)) for name, numbers in columns.items()})


def unpacked(packed: bytes, replicates: int) -> MetricSums:
    """The sums of a row."""
    return MetricSums(*np.frombuffer(packed).reshape(2, 1 + replicates, -1))


def _packed(sums: MetricSums) -> bytes:
    return np.stack([sums.numerators, sums.denominators]).tobytes()


def _slices(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for begin in range(0, batch.num_rows, USERS_PER_BATCH):
            yield batch.slice(begin, USERS_PER_BATCH)


def _encoded(users: pa.RecordBatch, items: OpenItems) -> UserBatch:
    """Users, all of them known to the model, as arrays."""
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


def _keep_best(best_ranks: Int32Array, result: BatchResult) -> None:
    for ranks, (items, ranks_in_batch) in zip(best_ranks, result.recommended, strict=False):
        ranks[items] = np.minimum(ranks[items], ranks_in_batch)


def _results(**columns: pa.Array) -> pa.RecordBatch:
    n = len(next(iter(columns.values())))
    arrays = [columns.get(field.name, pa.nulls(n, field.type)) for field in _ARROW_RESULTS]
    return pa.RecordBatch.from_arrays(arrays, schema=_ARROW_RESULTS)
