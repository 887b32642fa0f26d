"""Builds in-blocks and out-blocks from interactions, one block at a time.

The row side (users) is built from the interactions themselves (`build_row_block`), the column side (items) from what
each row block knows of it (`build_column_block`): raw ids cross the network once, and duplicates are merged in one
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.dictionary import compact_dictionary, concatenate_dictionaries, count_indices, narrow_integers
from wals_spark.arrays.heap import trim_heap
from wals_spark.arrays.sorting import stable_argsort
from wals_spark.arrays.types import Float32Array, Float64Array, FloatArray, Indices, Int64Array
from wals_spark.blocks.assignment import Assignment
from wals_spark.blocks.duplicates import Merged, joined_weights, merge_duplicates
from wals_spark.blocks.encoding import ArrayBlock, Record, RecordArrays, cut_ids, group_records, ids_of, to_records
from wals_spark.blocks.in_out import InBlock, OutBlock

_IDS = "column_ids"
_NONE = np.empty(0)


@dataclass(frozen=True)
class Columns(ArrayBlock):
    """What one row block knows of one column block: its part of the matrix, column by column.

    Attributes
    ----------
    counts : int64, shape (n_columns,)
        Observations of each column, in the order of their ids.
    positions : shape (n_observed,)
        Into the rows that the row block will send, column after column, as the three that follow.
    indices : shape (n_observed,)
        Into the dictionary of ratings.
    dictionary : float32, shape (n_distinct,)
    weights : float32, shape (n_observed,), or empty
    """

    kind: ClassVar[str] = "columns"

    counts: Int64Array
    positions: Indices
    indices: Indices
    dictionary: Float32Array
    weights: Float32Array


class SentColumns(NamedTuple):
    """The columns that a row block sends to one column block: their ids, ascending, and their observations."""

    ids: pa.Array
    columns: Columns

    def records(self, destination: int) -> Iterator[Record]:
        """As records for column block ``destination``; `by_source` reads them."""
        yield from cut_ids(_IDS, self.ids, peer=destination)
        yield from to_records(self.columns.arrays(peer=destination))

    @classmethod
    def by_source(cls, records: Iterable[Record]) -> dict[int, SentColumns]:
        """Read what arrived, by the row block that it came from (``peer``)."""
        grouped = group_records(records)
        arrays = RecordArrays(grouped)
        return {
            source: cls(ids_of(grouped, _IDS, source), Columns.read(arrays, peer=source))
            for source in sorted(grouped.get(_IDS, {}))
        }


class Duplicates(NamedTuple):
    """Rows beyond the first of their (user, item) pair, and up to five such pairs."""

    rows: int
    examples: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class ColumnBlock:
    """A block of one side: its ids, ascending, and what its half-iterations receive and send."""

    ids: pa.Array
    in_block: InBlock
    out_block: OutBlock


@dataclass(frozen=True)
class RowBlock(ColumnBlock):
    """A block of the side that the interactions were shuffled by, with its columns by column block."""

    columns: dict[int, SentColumns]
    duplicates: Duplicates


def build_row_block(
    rows: pa.ChunkedArray,
    columns: pa.ChunkedArray,
    ratings: FloatArray,
    assignment: Assignment,
    *,
    duplicates: str = "sum",
    timestamps: FloatArray | None = None,
    weights: FloatArray | None = None,
) -> RowBlock:
    """Build one block of rows from its interactions, in any order.

    Ids, shape (n_interactions,), are strings or integers, none null; ``assignment`` maps columns to blocks. With
    ``duplicates``, several ratings of one pair become their ``sum``, the ``last`` by timestamp (the greatest of
    several at one moment), their ``max``, or their ``mean`` by weight; ``refuse`` sums, and the caller judges
    `RowBlock.duplicates`. The weight of several rows of a pair is the mean with ``sum``, the sum with ``mean`` (rows
    without weights weigh 1), else that of the row that is kept.
    """
    row_indices, row_place, row_ids = _encode(rows)
    column_indices, column_place, column_ids = _encode(columns)
    del rows, columns  # here and below: arrays of one number per interaction are most of a worker's memory
    trim_heap()
    column_ids, place, offsets = _by_block(column_ids, assignment)
    n_columns = max(1, len(column_ids))  # a block without interactions divides by it too
    pair = (row_place * n_columns)[row_indices]
    del row_indices
    pair += place[column_place][column_indices]
    del column_indices
    n_interactions = len(pair)
    merged = merge_duplicates(pair, ratings, weights, timestamps, duplicates)
    del ratings, weights, timestamps, pair
    examples = [divmod(int(p), n_columns) for p in merged.repeated[:5]]
    row, in_block = _row_in_block(merged, len(row_ids), n_columns, offsets)
    del merged
    trim_heap()
    out_block, sent = _transpose(row, in_block, column_ids, len(row_ids))
    ids = tuple((row_ids[r].as_py(), column_ids[c].as_py()) for r, c in examples)
    return RowBlock(row_ids, in_block, out_block, sent, Duplicates(n_interactions - len(in_block.positions), ids))


def build_column_block(sent: dict[int, SentColumns], *, n_row_blocks: int) -> ColumnBlock:
    """Build one block of columns from what each row block sent of it, by its number.

    From each row block in turn, it will receive the rows that have an observation here.
    """
    sources = sorted(sent)
    if not sources:
        return ColumnBlock(pa.nulls(0), InBlock.read(RecordArrays({})), OutBlock.of({}))
    columns = [sent[source].columns for source in sources]
    indices_of_ids, place, ids = _encode(pa.chunked_array([sent[source].ids for source in sources]))
    bounds = np.cumsum([len(sent[source].ids) for source in sources])[:-1]
    needed = [part.astype(np.int32) for part in np.split(place[indices_of_ids], bounds)]
    received = np.zeros(n_row_blocks, dtype=np.int64)
    received[sources] = [int(part.positions.max()) + 1 for part in columns]
    offsets = np.concatenate([[0], np.cumsum(received)])
    column = np.concatenate(
        [np.repeat(narrow_integers(n, len(ids)), part.counts) for n, part in zip(needed, columns, strict=True)]
    )
    positions = np.concatenate(
        [
            narrow_integers(part.positions + offsets[source], int(offsets[-1]))
            for source, part in zip(sources, columns, strict=True)
        ]
    )
    indices, dictionary = concatenate_dictionaries([(part.indices, part.dictionary) for part in columns])
    weights = joined_weights([(part.weights, len(part.indices)) for part in columns])
    del columns, sent
    indptr = np.concatenate([[0], np.cumsum(count_indices(column, len(ids)))])
    order = stable_argsort(column)  # by column, then by source block, then by position
    weights = weights[order] if len(weights) else weights
    in_block = InBlock(indptr, positions[order], indices[order], dictionary, offsets, weights)
    return ColumnBlock(ids, in_block, OutBlock.of(dict(zip(sources, needed, strict=True))))


def _encode(ids: pa.ChunkedArray) -> tuple[Indices, Int64Array, pa.Array]:
    """Each entry's dictionary index, each index's place among the distinct ids in ascending order, and these ids."""
    encoded = ids.dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), pa.nulls(0)
    distinct = encoded.chunk(0).dictionary
    indices = np.concatenate([as_numpy(chunk.indices) for chunk in encoded.chunks])
    order = as_numpy(pc.sort_indices(distinct))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return indices, place, distinct.take(as_arrow(order))


def _by_block(column_ids: pa.Array, assignment: Assignment) -> tuple[pa.Array, Indices, Int64Array]:
    """Column ids in the order in which their rows will be received, each column's place in it, and block offsets."""
    block_of_column = assignment.block_of(column_ids)
    # Received rows lie by source block, then by id: ids are ascending already, so a stable sort is enough.
    order = stable_argsort(block_of_column)
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order))
    offsets = np.searchsorted(block_of_column[order], np.arange(assignment.n_blocks + 1)).astype(np.int64)
    return column_ids.take(as_arrow(order)), place, offsets


def _row_in_block(merged: Merged, n_rows: int, n_columns: int, offsets: Int64Array) -> tuple[Indices, InBlock]:
    """The row of each distinct pair, and the in-block."""
    row, position = (np.empty(len(merged.pairs), dtype=np.int32) for _ in range(2))
    np.divmod(merged.pairs, n_columns, out=(row, position), casting="unsafe")  # both are below 2^31
    indptr = np.searchsorted(row, np.arange(n_rows + 1)).astype(np.int64)
    return row, InBlock.of(indptr, position, merged.ratings, offsets, merged.weights)


def _transpose(
    row: Indices, in_block: InBlock, column_ids: pa.Array, n_rows: int
) -> tuple[OutBlock, dict[int, SentColumns]]:
    """For each column block: the rows that it needs, and this block's part of the matrix column by column."""
    rows_needed: dict[int, Indices] = {}
    sent: dict[int, SentColumns] = {}
    counts = count_indices(in_block.positions, len(column_ids))
    by_column = stable_argsort(in_block.positions)  # by column, then by row
    row, indices = row[by_column], in_block.indices[by_column]
    weights = in_block.weights[by_column] if len(in_block.weights) else in_block.weights
    del by_column
    bounds = np.concatenate([[0], np.cumsum(counts)])[in_block.offsets]
    place = narrow_integers(np.zeros(n_rows, dtype=np.int32), n_rows)
    for block, (begin, end) in enumerate(pairwise(bounds)):
        if begin == end:
            continue
        first, last = in_block.offsets[block], in_block.offsets[block + 1]
        needed = np.flatnonzero(np.bincount(row[begin:end], minlength=n_rows))
        place[needed] = np.arange(len(needed))
        rows_needed[block] = needed.astype(np.int32)
        sent_indices, sent_dictionary = compact_dictionary(indices[begin:end], in_block.dictionary)
        columns = Columns(counts[first:last], place[row[begin:end]], sent_indices, sent_dictionary, weights[begin:end])
        sent[block] = SentColumns(column_ids.slice(first, last - first), columns)
    return OutBlock.of(rows_needed), sent


def merge_histories(
    users: Int64Array,
    positions: Indices,
    ratings: Float64Array,
    weights: Float64Array | None,
    timestamps: Float64Array | None,
    *,
    shape: tuple[int, int],
    duplicates: str,
) -> tuple[InBlock, Indices]:
    """Build the in-block of users from entries in any order; also return the (user, item) pairs that repeat.

    ``positions`` are item positions; ``shape`` is (n_users, n_items). A pair is encoded as user * n_items + position.
    """
    n_users, n_items = shape
    pair = users.astype(np.int64) * n_items + positions
    merged = merge_duplicates(pair, ratings, weights, timestamps, duplicates)
    indptr = np.searchsorted(merged.pairs, np.arange(n_users + 1) * n_items).astype(np.int64)
    block = InBlock.of(indptr, merged.pairs % n_items, merged.ratings, np.array([0, n_items]), merged.weights)
    return block, merged.repeated
