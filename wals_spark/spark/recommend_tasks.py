"""What an executor does to recommend: a batch of queries in, their best candidates out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

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
from wals_spark.spark.seen_pairs import unpacked_seen

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


class ListNames(NamedTuple):
    """Columns of a row per query: its id, and a list of structs of a candidate's id and its score."""

    query: str
    lists: str
    candidate: str
    score: str


@dataclass(frozen=True)
class RankTask:
    """What a task needs besides its queries: the candidates, how many of them per query, and the mode.

    With ``lists``, a query is one row and its candidates are a list, and not a row each.
    """

    candidates: ItemTable
    k: int
    mode: Mode
    exclude_seen: bool = True
    explanations: ExplanationTask | None = None
    lists: ListNames | None = None


def rank_batches(
    batches: Iterable[pa.RecordBatch], *, task: RankTask, histories: bool = False
) -> Iterator[pa.RecordBatch]:
    """Rank candidates for queries (id, features), with ``histories`` of a partition of `histories.beside`."""
    items = task.candidates.opened()
    for batch in gathered_beside(batches) if histories else batches:
        for queries in _slices(batch, task):
            yield _ranked(queries, _excluded(queries, items, task), items, task)


def rank_unseen(batches: Iterable[pa.RecordBatch], *, task: RankTask) -> Iterator[pa.RecordBatch]:
    """Rank candidates that queries have not seen, in a partition of `seen_pairs.beside_seen`."""
    unpacked = unpacked_seen(batches)
    if unpacked is None:
        return
    items = task.candidates.opened()
    seen = unpacked.lists(items.positions) if task.exclude_seen else None
    first = 0
    for batch in unpacked.queries.to_batches():
        for queries in _slices(batch, task):
            end = first + len(queries)
            yield _ranked(queries, None if seen is None else seen.batch(first, end), items, task)
            first = end


def rank_group(queries: pa.Table, candidates: pa.Table, *, task: RankTask) -> pa.Table:
    """Rank candidates (candidate, candidate_features) for queries (id, features), a group of each, all in memory.

    With ``exclude_seen`` rows of queries without features have what a query has ``seen``.
    """
    candidates = candidates.take(pc.sort_indices(candidates.column("candidate"))).combine_chunks()
    ids, features = (_in_one_piece(candidates, name) for name in ("candidate", "candidate_features"))
    vectors = matrix(features, width=task.candidates.width, unit_length=task.mode.cosine)
    items = OpenItems(ids, vectors)
    if task.exclude_seen:
        of_group = queries.select(["id", "features", "seen"])
        batches = list(gathered_beside(of_group.to_batches()))
    else:
        batches = queries.combine_chunks().to_batches()
    ranked = []
    for batch in batches:
        for part in _slices(batch, task):
            seen = items.lists(part.column("seen")) if task.exclude_seen else _excluded(part, items, task)
            ranked.append(_ranked(part, seen, items, task))
    return pa.Table.from_batches(ranked)


def _in_one_piece(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _slices(batch: pa.RecordBatch, task: RankTask) -> Iterator[pa.RecordBatch]:
    """So many queries of a batch that their results go back to Spark together."""
    step = max(1, _RESULTS_PER_BATCH // task.k)
    return (batch.slice(start, step) for start in range(0, batch.num_rows, step))


def _ranked(queries: pa.RecordBatch, excluded: ItemLists | None, items: OpenItems, task: RankTask) -> pa.RecordBatch:
    rows = matrix(queries.column("features"), width=task.candidates.width, unit_length=task.mode.cosine)
    best = top_k(rows, items.features, task.k, excluded=excluded, longest_first=items.longest_first)
    if task.lists is not None:
        columns = _as_lists(queries.column("id"), best, items, task.lists)
    else:
        columns = _as_rows(queries.column("id"), best, items, task.mode)
    if task.explanations:
        columns["because"] = _because(queries, best, items, task.explanations)
    return pa.record_batch(list(columns.values()), names=list(columns))


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


def _as_lists(ids: pa.Array, best: TopK, items: OpenItems, names: ListNames) -> dict[str, pa.Array]:
    """One row per query, with a list of the candidates that there are."""
    is_ranked = best.positions >= 0
    offsets = np.concatenate([[0], np.cumsum(is_ranked.sum(axis=1))]).astype(np.int32)
    candidates, scores = _ids_at(items, best.positions[is_ranked]), as_arrow(best.scores[is_ranked])
    structs = pa.StructArray.from_arrays([candidates, scores], names=[names.candidate, names.score])
    return {names.query: ids, names.lists: pa.ListArray.from_arrays(as_arrow(offsets), structs)}


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
