"""What an executor does to recommend: a batch of queries in, their best candidates out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.types import Float64Array, Int32Array
from wals_spark.blocks.build import merge_histories
from wals_spark.objective.objective import Objective
from wals_spark.ranking.explanations import largest_contributions
from wals_spark.ranking.modes import Mode
from wals_spark.ranking.top_k import ItemLists, TopK, top_k
from wals_spark.spark.histories import gathered_beside
from wals_spark.spark.item_table import ItemTable, OpenItems, matrix

_RESULTS_PER_BATCH = 200_000  # rows that go back to Spark together


@dataclass(frozen=True)
class ExplanationTask:
    """What a task needs to find the ``n`` items of a history that contribute most to a score.

    ``items`` are all items of the model; where popularity weighs, an item's weight follows its features.
    """

    items: ItemTable
    n: int
    objective: Objective
    gramian: Float64Array
    duplicates: str


@dataclass(frozen=True)
class RankTask:
    """What a task needs besides its queries: the candidates, how many of them per query, and the mode."""

    candidates: ItemTable
    k: int
    mode: Mode
    exclude_seen: bool = True
    explanations: ExplanationTask | None = None


def rank_batches(
    batches: Iterable[pa.RecordBatch], *, task: RankTask, histories: bool = False
) -> Iterator[pa.RecordBatch]:
    """Rank candidates for queries (id, features), with ``histories`` of a partition of `histories.beside`."""
    items = task.candidates.opened()
    step = max(1, _RESULTS_PER_BATCH // task.k)
    for batch in gathered_beside(batches) if histories else batches:
        for start in range(0, batch.num_rows, step):
            queries = batch.slice(start, step)
            rows = matrix(queries.column("features"), width=task.candidates.width, unit_length=task.mode.cosine)
            best = top_k(rows, items.features, task.k, excluded=_excluded(queries, items, task))
            columns = _as_rows(queries.column("id"), best, items, task.mode)
            if task.explanations:
                columns["because"] = _because(queries, best, items, task.explanations)
            yield pa.record_batch(list(columns.values()), names=list(columns))


def _excluded(queries: pa.RecordBatch, items: OpenItems, task: RankTask) -> ItemLists | None:
    """What no query is recommended: itself among what is similar, else what it has already."""
    if task.mode.cosine:
        return ItemLists.of(np.arange(len(queries)), items.positions(queries.column("id")), len(queries))
    if task.exclude_seen and task.mode.result in queries.schema.names:
        return items.lists(queries.column(task.mode.result))
    return None


def _as_rows(ids: pa.Array, best: TopK, items: OpenItems, mode: Mode) -> dict[str, pa.Array]:
    """One row per query and rank; none for ranks without a candidate."""
    query, rank = np.nonzero(best.positions >= 0)
    return {
        mode.query: ids.take(as_arrow(query)),
        "rank": as_arrow((rank + 1).astype(np.int32)),
        mode.column: _ids_at(items, best.positions[query, rank]),
        "score": as_arrow(best.scores[query, rank]),
    }


def _because(queries: pa.RecordBatch, best: TopK, candidates: OpenItems, task: ExplanationTask) -> pa.Array:
    """The largest contributions to each score, one list per row that `_as_rows` makes."""
    items, width = task.items.opened(), len(task.gramian)
    history = queries.column("item")
    lengths = as_numpy(pc.list_value_length(history), null=0)
    user, positions = np.repeat(np.arange(len(history)), lengths), items.positions(history.flatten())
    known = positions >= 0
    names = {"rating", "weight", "timestamp"}.intersection(queries.schema.names)
    numbers = {name: as_numpy(queries.column(name).flatten())[known] for name in names}
    block, _ = merge_histories(
        user[known], positions[known], numbers["rating"], numbers.get("weight"), numbers.get("timestamp"),
        shape=(len(history), task.items.rows), duplicates=task.duplicates,
    )  # fmt: skip
    explanations = largest_contributions(
        block,
        items.features[:, :width],
        task.gramian,
        task.objective,
        candidates.features[best.positions],
        task.n,
        multipliers=items.features[:, width].astype(np.float64) if task.items.width > width else None,
    )
    is_ranked = best.positions >= 0
    contributors = explanations.positions[is_ranked]  # (n_rows, n), -1 where the history has fewer
    offsets = np.concatenate([[0], np.cumsum((contributors >= 0).sum(axis=1))]).astype(np.int32)
    contributions = as_arrow(explanations.shares[is_ranked][contributors >= 0])
    names_of = _ids_at(items, contributors[contributors >= 0])
    return pa.ListArray.from_arrays(
        as_arrow(offsets), pa.StructArray.from_arrays([names_of, contributions], ["item", "score"])
    )


def _ids_at(items: OpenItems, positions: Int32Array) -> pa.Array:
    """The ids at these positions, in the type that Spark knows."""
    ids = items.ids.take(as_arrow(positions))
    return ids.cast(pa.string()) if pa.types.is_large_string(ids.type) else ids
