"""From interactions to in-blocks and out-blocks, one block at a time.

The user side is laid out from the interactions themselves (`build_row_block`), the item side from what the user
blocks know of it (`build_column_block`): raw ids cross the network once, and duplicates are merged in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.dictionary import compact_dictionary, concatenate_dictionaries, count_indices, narrow_integers
from wals_spark.arrays.heap import trim_heap
from wals_spark.arrays.sorting import stable_argsort, stable_sort
from wals_spark.arrays.types import Float32Array, Float64Array, FloatArray, Indices, Int32Array, Int64Array
from wals_spark.blocks.assignment import bucket_of
from wals_spark.blocks.in_out import InBlock, OutBlock
from wals_spark.blocks.records import Record, cut_ids, cut_typed, group_records, join_ids, join_typed

_ARRAYS = ("counts", "positions", "indices", "dictionary", "weights")


_NONE = np.empty(0)


class Columns(NamedTuple):
    """What one row block knows of one column block: its part of the matrix, column by column.

    ``ids`` are the columns' ids, ascending; ``counts`` the observations of each; ``positions`` (into the rows
    that the row block will send), ``indices`` (of ratings, into ``dictionary``) and ``weights`` (empty if there are none) lie
    column after column.
    """

    ids: pa.Array
    counts: Int64Array
    positions: Indices
    indices: Indices
    dictionary: Float32Array
    weights: Float32Array

    def records(self, destination: int) -> Iterator[Record]:
        """Cut for travel to column block ``destination``."""
        yield from cut_ids("column_ids", self.ids, peer=destination)
        for name in _ARRAYS:
            yield from cut_typed(name, getattr(self, name), peer=destination)

    @classmethod
    def by_source(cls, records: Iterable[Record]) -> dict[int, Columns]:
        """Put together what arrived, by the row block it came from (``peer``)."""
        found = group_records(records)
        return {
            source: cls(join_ids(parts), **join_typed(found, _ARRAYS, source))
            for source, parts in sorted(found.get("column_ids", {}).items())
        }


class Duplicates(NamedTuple):
    """Rows beyond the first of their (user, item) pair, and up to five such pairs."""

    rows: int
    examples: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class RowBlock:
    """A laid-out block of the side that the interactions were shuffled by."""

    ids: pa.Array
    in_block: InBlock
    out_block: OutBlock
    columns: dict[int, Columns]
    duplicates: Duplicates


@dataclass(frozen=True)
class ColumnBlock:
    """A laid-out block of the other side."""

    ids: pa.Array
    in_block: InBlock
    out_block: OutBlock


def build_row_block(
    rows: pa.ChunkedArray,
    columns: pa.ChunkedArray,
    ratings: FloatArray,
    *,
    n_column_blocks: int,
    column_blocks: Int32Array,
    duplicates: str = "sum",
    timestamps: FloatArray | None = None,
    weights: FloatArray | None = None,
) -> RowBlock:
    """Lay out one block of rows from its interactions, in any order.

    Parameters
    ----------
    rows, columns : pa.ChunkedArray, shape (n_interactions,)
        Ids, strings or integers, none null; as they are, or each chunk encoded with a dictionary of its own.
    column_blocks : int32, shape (N_BUCKETS,)
        The block of each bucket of columns (`buckets.assign_by_cost`), below ``n_column_blocks``.
    duplicates : str
        What several ratings of one pair become: their ``sum``, the ``last`` by timestamp (the greatest of
        several at one moment), or their ``max``. ``refuse`` sums, and leaves the judgement to who reads
        `RowBlock.duplicates`.
    weights : float64, shape (n_interactions,)
        The caller's own, if there are any. Of several rows of one pair, ``sum`` keeps the mean weight, ``last`` and
        ``max`` that of the row they keep.
    """
    row_codes, row_place, row_ids = _encode(rows)
    column_codes, column_place, column_ids = _encode(columns)
    del rows, columns  # here and below: arrays of a number an interaction are most of a worker's memory
    trim_heap()
    block_of_column = column_blocks[bucket_of(column_ids)]
    # Received rows lie by source block, then by id: ids are ascending already, so a stable sort is enough.
    by_block = stable_argsort(block_of_column)
    place = np.empty(len(by_block), dtype=np.int32)
    place[by_block] = np.arange(len(by_block))
    offsets = np.searchsorted(block_of_column[by_block], np.arange(n_column_blocks + 1)).astype(np.int64)
    column_ids = column_ids.take(as_arrow(by_block))

    n_columns = max(1, len(column_ids))  # a block without interactions divides by it too
    pair = (row_place * n_columns)[row_codes]
    del row_codes
    pair += place[column_place][column_codes]
    del column_codes
    n_interactions = len(pair)
    pair, merged_ratings, merged_weights, repeated = merge_duplicates(pair, ratings, weights, timestamps, duplicates)
    del ratings, weights, timestamps
    row, position = (np.empty(len(pair), dtype=np.int32) for _ in range(2))
    np.divmod(pair, n_columns, out=(row, position), casting="unsafe")  # both are below 2³¹
    del pair
    examples = [divmod(int(p), n_columns) for p in repeated[:5]]

    in_block = InBlock.of(
        indptr=np.searchsorted(row, np.arange(len(row_ids) + 1)).astype(np.int64),
        positions=position,
        ratings=merged_ratings,
        offsets=offsets,
        weights=merged_weights,
    )
    del position, merged_ratings, merged_weights
    trim_heap()
    out_block, transposed = _transpose(row, in_block, column_ids, len(row_ids))
    return RowBlock(
        ids=row_ids,
        in_block=in_block,
        out_block=out_block,
        columns=transposed,
        duplicates=Duplicates(
            rows=n_interactions - len(in_block.positions),
            examples=tuple((row_ids[r].as_py(), column_ids[c].as_py()) for r, c in examples),
        ),
    )


def build_column_block(columns: dict[int, Columns], *, n_row_blocks: int) -> ColumnBlock:
    """Lay out one block of columns from what each row block sent of it.

    The rows it will receive are, from each row block in turn, those that have an observation here.
    """
    sources = sorted(columns)
    if not sources:
        return ColumnBlock(pa.nulls(0), InBlock.from_records({}), {})
    codes_of_ids, place, ids = _encode(pa.chunked_array([columns[source].ids for source in sources]))
    rows = place[codes_of_ids]
    lengths = [len(columns[source].ids) for source in sources]
    out_block = {
        source: part.astype(np.int32)
        for source, part in zip(sources, np.split(rows, np.cumsum(lengths)[:-1]), strict=True)
    }
    received = np.zeros(n_row_blocks, dtype=np.int64)
    for source in sources:
        received[source] = int(columns[source].positions.max()) + 1
    offsets = np.concatenate([[0], np.cumsum(received)])

    column = np.concatenate([np.repeat(narrow_integers(out_block[s], len(ids)), columns[s].counts) for s in sources])
    positions = np.concatenate([narrow_integers(columns[s].positions + offsets[s], int(offsets[-1])) for s in sources])
    indices, dictionary = concatenate_dictionaries([(columns[s].indices, columns[s].dictionary) for s in sources])
    weights = np.concatenate([columns[s].weights for s in sources])
    del columns
    indptr = np.concatenate([[0], np.cumsum(count_indices(column, len(ids)))])
    order = stable_argsort(column)  # by column, then by source block, then by position
    in_block = InBlock(
        indptr=indptr,
        positions=positions[order],
        indices=indices[order],
        dictionary=dictionary,
        offsets=offsets,
        weights=weights[order] if len(weights) else weights,
    )
    return ColumnBlock(ids, in_block, out_block)


def _encode(ids: pa.ChunkedArray) -> tuple[Indices, Int64Array, pa.Array]:
    """Each entry's code, each code's place among the distinct ids in ascending order, and these."""
    encoded = ids.dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), pa.nulls(0)
    distinct = encoded.chunk(0).dictionary
    indices = np.concatenate([as_numpy(chunk.indices) for chunk in encoded.chunks])
    order = as_numpy(pc.sort_indices(distinct))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return indices, place, distinct.take(as_arrow(order))


def merge_duplicates(
    pair: Int64Array, ratings: FloatArray, weights: FloatArray | None, timestamps: FloatArray | None, policy: str
) -> tuple[Int64Array, FloatArray, FloatArray, Int64Array]:
    """Distinct pairs ascending, a rating and (if there are any) a weight for each, and the pairs that came repeatedly.

    A run of one pair is ordered by its values and not by arrival, so shuffled input gives the same bits. ``pair`` is
    overwritten.
    """
    pair_sorted, order = stable_sort(pair)
    is_first = np.ones(len(pair_sorted), dtype=bool)
    is_first[1:] = pair_sorted[1:] != pair_sorted[:-1]
    if is_first.all():
        return pair_sorted, ratings[order], _NONE if weights is None else weights[order], pair_sorted[:0]
    by_value = (ratings,) if weights is None else (weights, ratings)
    by_time = (timestamps,) if policy == "last" and timestamps is not None else ()
    within_runs = np.lexsort((*(values[order] for values in (*by_value, *by_time)), pair_sorted))
    order = order[within_runs]
    firsts = np.flatnonzero(is_first)
    run_lengths = np.diff(np.append(firsts, len(pair_sorted)))
    if policy in ("last", "max"):
        keep = order[firsts + run_lengths - 1]
        merged, merged_weights = ratings[keep], _NONE if weights is None else weights[keep]
    else:
        merged = np.add.reduceat(ratings[order], firsts, dtype=np.float64)
        merged_weights = _NONE
        if weights is not None:
            merged_weights = np.add.reduceat(weights[order], firsts, dtype=np.float64) / run_lengths
    distinct = pair_sorted[firsts]
    return distinct, merged, merged_weights, distinct[run_lengths > 1]


def _transpose(
    row: Indices, in_block: InBlock, column_ids: pa.Array, n_rows: int
) -> tuple[OutBlock, dict[int, Columns]]:
    """For each column block: the rows it needs, and this block's part of the matrix column by column."""
    out_block: OutBlock = {}
    transposed: dict[int, Columns] = {}
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
        out_block[block] = needed.astype(np.int32)
        sent_codes, sent_levels = compact_dictionary(indices[begin:end], in_block.dictionary)
        transposed[block] = Columns(
            ids=column_ids.slice(first, last - first),
            counts=counts[first:last],
            positions=place[row[begin:end]],
            indices=sent_codes,
            dictionary=sent_levels,
            weights=weights[begin:end],
        )
    return out_block, transposed


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

    ``positions`` are item positions; ``shape`` is (n_users, n_items). A pair is encoded as user · n_items + position.
    """
    n_users, n_items = shape
    pair = users.astype(np.int64) * n_items + positions
    pairs, merged_ratings, merged_weights, repeated = merge_duplicates(pair, ratings, weights, timestamps, duplicates)
    block = InBlock.of(
        indptr=np.searchsorted(pairs, np.arange(n_users + 1) * n_items).astype(np.int64),
        positions=pairs % n_items,
        ratings=merged_ratings,
        offsets=np.array([0, n_items]),
        weights=merged_weights,
    )
    return block, repeated
