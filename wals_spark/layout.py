"""From interactions to in-blocks and out-blocks, one block at a time.

The user side is laid out from the interactions themselves (`lay_out_rows`), the item side from what the user
blocks know of it (`lay_out_columns`): raw ids cross the network once, and duplicates are merged in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrow import as_arrow, as_numpy
from wals_spark.blocks import InBlock, OutBlock
from wals_spark.buckets import bucket_of
from wals_spark.coding import at_most_one_each, narrowest, times_each, together
from wals_spark.memory import give_back
from wals_spark.order import stable_order, stably_sorted
from wals_spark.pieces import Piece, by_name_and_peer, cut_ids, cut_typed, join_ids, join_typed

_ARRAYS = ("counts", "positions", "codes", "levels", "weights")

Ints = npt.NDArray[np.integer[Any]]
Pairs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

_NONE = np.empty(0)


class Columns(NamedTuple):
    """What one row block knows of one column block: its part of the matrix, column by column.

    ``ids`` are the columns' ids, ascending; ``counts`` the observations of each; ``positions`` (into the rows
    that the row block will send), ``codes`` (of ratings, into ``levels``) and ``weights`` (empty if there are none) lie
    column after column.
    """

    ids: pa.Array
    counts: npt.NDArray[np.int64]
    positions: Ints
    codes: Ints
    levels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]

    def pieces(self, destination: int) -> Iterator[Piece]:
        """Cut for travel to column block ``destination``."""
        yield from cut_ids("column_ids", self.ids, peer=destination)
        for name in _ARRAYS:
            yield from cut_typed(name, getattr(self, name), peer=destination)

    @classmethod
    def by_source(cls, pieces: Iterable[Piece]) -> dict[int, Columns]:
        """Put together what arrived, by the row block it came from (``peer``)."""
        found = by_name_and_peer(pieces)
        return {
            source: cls(join_ids(parts), **join_typed(found, _ARRAYS, source))
            for source, parts in sorted(found.get("column_ids", {}).items())
        }


class Duplicates(NamedTuple):
    """Rows beyond the first of their (user, item) pair, and up to five such pairs."""

    rows: int
    examples: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class RowLayout:
    """A laid-out block of the side that the interactions were shuffled by."""

    ids: pa.Array
    in_block: InBlock
    out_block: OutBlock
    columns: dict[int, Columns]
    duplicates: Duplicates


@dataclass(frozen=True)
class ColumnLayout:
    """A laid-out block of the other side."""

    ids: pa.Array
    in_block: InBlock
    out_block: OutBlock


def lay_out_rows(
    rows: pa.ChunkedArray,
    columns: pa.ChunkedArray,
    ratings: Floats,
    *,
    n_column_blocks: int,
    column_blocks: npt.NDArray[np.int32],
    duplicates: str = "sum",
    timestamps: Floats | None = None,
    weights: Floats | None = None,
) -> RowLayout:
    """Lay out one block of rows from its interactions, in any order.

    Parameters
    ----------
    rows, columns : pa.ChunkedArray, shape (n_interactions,)
        Ids, strings or integers, none null; as they are, or each chunk encoded with a dictionary of its own.
    column_blocks : int32, shape (N_BUCKETS,)
        The block of each bucket of columns (`buckets.balanced`), below ``n_column_blocks``.
    duplicates : str
        What several ratings of one pair become: their ``sum``, the ``last`` by timestamp (the greatest of
        several at one moment), or their ``max``. ``refuse`` sums, and leaves the judgement to who reads
        `RowLayout.duplicates`.
    weights : float64, shape (n_interactions,)
        The caller's own, if there are any. Of several rows of one pair, ``sum`` keeps the mean weight, ``last`` and
        ``max`` that of the row they keep.
    """
    row_codes, row_place, row_ids = _encode(rows)
    column_codes, column_place, column_ids = _encode(columns)
    del rows, columns  # here and below: arrays of a number an interaction are most of a worker's memory
    give_back()
    block_of_column = column_blocks[bucket_of(column_ids)]
    # Received rows lie by source block, then by id: ids are ascending already, so a stable sort is enough.
    by_block = stable_order(block_of_column)
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
    give_back()
    out_block, transposed = _transpose(row, in_block, column_ids, len(row_ids))
    return RowLayout(
        ids=row_ids,
        in_block=in_block,
        out_block=out_block,
        columns=transposed,
        duplicates=Duplicates(
            rows=n_interactions - len(in_block.positions),
            examples=tuple((row_ids[r].as_py(), column_ids[c].as_py()) for r, c in examples),
        ),
    )


def lay_out_columns(columns: dict[int, Columns], *, n_row_blocks: int) -> ColumnLayout:
    """Lay out one block of columns from what each row block sent of it.

    The rows it will receive are, from each row block in turn, those that have an observation here.
    """
    sources = sorted(columns)
    if not sources:
        return ColumnLayout(pa.nulls(0), InBlock.from_pieces({}), {})
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

    column = np.concatenate([np.repeat(narrowest(out_block[s], len(ids)), columns[s].counts) for s in sources])
    positions = np.concatenate([narrowest(columns[s].positions + offsets[s], int(offsets[-1])) for s in sources])
    codes, levels = together([(columns[s].codes, columns[s].levels) for s in sources])
    weights = np.concatenate([columns[s].weights for s in sources])
    del columns
    indptr = np.concatenate([[0], np.cumsum(times_each(column, len(ids)))])
    order = stable_order(column)  # by column, then by source block, then by position
    in_block = InBlock(
        indptr=indptr,
        positions=positions[order],
        codes=codes[order],
        levels=levels,
        offsets=offsets,
        weights=weights[order] if len(weights) else weights,
    )
    return ColumnLayout(ids, in_block, out_block)


def _encode(ids: pa.ChunkedArray) -> tuple[Ints, npt.NDArray[np.int64], pa.Array]:
    """Each entry's code, each code's place among the distinct ids in ascending order, and these."""
    encoded = ids.dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), pa.nulls(0)
    distinct = encoded.chunk(0).dictionary
    codes = np.concatenate([as_numpy(chunk.indices) for chunk in encoded.chunks])
    order = as_numpy(pc.sort_indices(distinct))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return codes, place, distinct.take(as_arrow(order))


def merge_duplicates(
    pair: Pairs, ratings: Floats, weights: Floats | None, timestamps: Floats | None, policy: str
) -> tuple[Pairs, Floats, Floats, Pairs]:
    """Distinct pairs ascending, a rating and (if there are any) a weight for each, and the pairs that came repeatedly.

    A run of one pair is ordered by its values and not by arrival, so shuffled input gives the same bits. ``pair`` is
    overwritten.
    """
    pair_sorted, order = stably_sorted(pair)
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


def _transpose(row: Ints, in_block: InBlock, column_ids: pa.Array, n_rows: int) -> tuple[OutBlock, dict[int, Columns]]:
    """For each column block: the rows it needs, and this block's part of the matrix column by column."""
    out_block: OutBlock = {}
    transposed: dict[int, Columns] = {}
    counts = times_each(in_block.positions, len(column_ids))
    by_column = stable_order(in_block.positions)  # by column, then by row
    row, codes = row[by_column], in_block.codes[by_column]
    weights = in_block.weights[by_column] if len(in_block.weights) else in_block.weights
    del by_column
    bounds = np.concatenate([[0], np.cumsum(counts)])[in_block.offsets]
    place = narrowest(np.zeros(n_rows, dtype=np.int32), n_rows)
    for block, (begin, end) in enumerate(pairwise(bounds)):
        if begin == end:
            continue
        first, last = in_block.offsets[block], in_block.offsets[block + 1]
        needed = np.flatnonzero(np.bincount(row[begin:end], minlength=n_rows))
        place[needed] = np.arange(len(needed))
        out_block[block] = needed.astype(np.int32)
        sent_codes, sent_levels = at_most_one_each(codes[begin:end], in_block.levels)
        transposed[block] = Columns(
            ids=column_ids.slice(first, last - first),
            counts=counts[first:last],
            positions=place[row[begin:end]],
            codes=sent_codes,
            levels=sent_levels,
            weights=weights[begin:end],
        )
    return out_block, transposed
