"""The top k items per query, and the ranks of wanted items, among all items: exact, whatever the sizes of tiles.

A score is the dot product of a query and an item, summed in float64 and rounded once to float32. It depends on the two
rows alone, and equal scores are in the order of the items' positions. BLAS is faster and does not guarantee that: its
last bits depend on where a pair is in a matrix product. So products only rule out items, by a bound on their error, and
the few that remain are scored as above. (The compiled kernels add in another order than NumPy, in float64, so that one
score in a hundred million may round differently.)
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int32Array, Int64Array
from wals_spark.ranking.kernels import numba_kernels

Ties = Literal["order", "against", "for"]

_TIES: tuple[Ties, ...] = ("order", "against", "for")
_UNIT_ROUNDOFF = 2.0**-24  # of float32
_EXCLUDED = np.float32(-np.inf)  # the score of what is no candidate
_PAIRS_PER_BATCH = 65_536


class Tiling(NamedTuple):
    """Queries and items of one matrix product, and whether compiled kernels are used: the results do not depend on it.

    With these sizes the scores of a product are 2 MB, which are read again at once; other sizes measured no faster.
    """

    queries: int = 256
    items: int = 2048
    compiled: bool = True


class ItemLists(NamedTuple):
    """A list of items per query: that of query q is ``positions[indptr[q]:indptr[q + 1]]``, ascending.

    Shapes (n_queries + 1,) and (n,).
    """

    indptr: Int64Array
    positions: Int32Array

    @classmethod
    def of(cls, queries: Int64Array, positions: Indices, n_queries: int) -> ItemLists:
        """Lists of pairs in any order; repeated pairs count once, positions below 0 (unknown items) are left out."""
        known = positions >= 0
        pairs = queries[known] << 32 | positions[known]
        pairs.sort()  # as `np.unique`, whose hash table is ten times slower with millions of pairs
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        indptr = np.searchsorted(pairs, np.arange(n_queries + 1, dtype=np.int64) << 32)
        return cls(indptr.astype(np.int64), (pairs & 0xFFFFFFFF).astype(np.int32))

    @classmethod
    def empty(cls, n_queries: int) -> ItemLists:
        """Empty lists for ``n_queries`` queries."""
        return cls(np.zeros(n_queries + 1, dtype=np.int64), np.empty(0, dtype=np.int32))

    def batch(self, begin: int, end: int) -> ItemLists:
        """The lists of the queries from ``begin`` to before ``end``."""
        indptr = self.indptr[begin : end + 1]
        return ItemLists(indptr - indptr[0], self.positions[indptr[0] : indptr[-1]])

    def queries(self) -> Int64Array:
        """The query that each entry belongs to, shape (n,)."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


_DEFAULT = Tiling()


class TopK(NamedTuple):
    """The best items per query, best first: positions and scores, both (n_queries, k).

    The lists of queries with fewer than k candidates end in position -1 and score -inf.
    """

    positions: Int32Array
    scores: Float32Array


def top_k(
    queries: Float32Array,
    items: Float32Array,
    k: int,
    *,
    excluded: ItemLists | None = None,
    tiling: Tiling = _DEFAULT,
) -> TopK:
    """The ``k`` items of highest score per query, without the ``excluded`` ones: equal to a full stable sort.

    Parameters
    ----------
    queries
        Shape (n_queries, width); finite, and so that no product with an item is beyond float32.
    items
        Shape (n_items, width); read in tiles, so that a memory-mapped file is enough.
    """
    shape = len(queries), k
    best = TopK(np.full(shape, -1, dtype=np.int32), np.full(shape, _EXCLUDED, dtype=np.float32))
    kernels = _kernels(tiling)
    improve = kernels.improve if kernels else _improve
    for tile in _tiles(queries, items, excluded, tiling):
        batch = slice(tile.first_query, tile.first_query + len(tile.queries))
        improve(tile, best.positions[batch], best.scores[batch])
    return best


def ranks(
    queries: Float32Array,
    items: Float32Array,
    wanted: ItemLists,
    *,
    excluded: ItemLists | None = None,
    ties: Ties = "order",
    tiling: Tiling = _DEFAULT,
) -> Int64Array:
    """How many candidates come before each wanted item, shape (len(wanted.positions),).

    The candidates of a query are the items that it does not exclude, and those it wants even if it excludes them.
    ``ties`` says which other items of equal score come before: those of lower position (order), all (against) or none.
    """
    before = np.zeros(len(wanted.positions), dtype=np.int64)
    scores = pair_scores(queries, items, wanted)
    kernels = _kernels(tiling)
    count = kernels.count if kernels else _count
    for tile in _tiles(queries, items, excluded, tiling):
        end_query = tile.first_query + len(tile.queries)
        entries = slice(wanted.indptr[tile.first_query], wanted.indptr[end_query])
        wanted_batch, wanted_scores = wanted.batch(tile.first_query, end_query), scores[entries]
        inside = _entries_inside(tile, wanted_batch)
        tile.scores[inside.queries, inside.items] = wanted_scores[inside.entries]
        count(tile, wanted_batch, wanted_scores, _TIES.index(ties), before[entries])
    return before


def pair_scores(queries: Float32Array, items: Float32Array, pairs: ItemLists) -> Float32Array:
    """The score of each query with each item of its list, shape (len(pairs.positions),)."""
    scores = np.empty(len(pairs.positions), dtype=np.float32)
    query_numbers = pairs.queries()
    for begin in range(0, len(scores), _PAIRS_PER_BATCH):
        batch = slice(begin, begin + _PAIRS_PER_BATCH)
        scores[batch] = _scores(queries[query_numbers[batch]], items[pairs.positions[batch]])
    return scores


class Tile(NamedTuple):
    """The matrix product of a batch of n queries and a batch of m items, which begin at these numbers.

    Attributes
    ----------
    queries, items : float32, shapes (n, width) and (m, width)
    scores : float32, shape (n, m)
        Products, off the true scores by at most ``error``; -inf for excluded items.
    error : float32, shape (n,)
    """

    first_query: int
    first_item: int
    queries: Float32Array
    items: Float32Array
    scores: Float32Array
    error: Float32Array


def _kernels(tiling: Tiling) -> ModuleType | None:
    return numba_kernels() if tiling.compiled else None


def _tiles(queries: Float32Array, items: Float32Array, excluded: ItemLists | None, tiling: Tiling) -> Iterator[Tile]:
    """All tiles, those of a batch of queries in the order of items; a tile overwrites the scores of the one before."""
    width = queries.shape[1]
    longest = [_norms(items[first : first + tiling.items]).max() for first in range(0, len(items), tiling.items)]
    kernels = _kernels(tiling)
    exclude = kernels.exclude if kernels else _exclude
    buffer = np.empty(tiling.queries * tiling.items, dtype=np.float32)
    for first_query in range(0, len(queries), tiling.queries):
        query_batch = np.array(queries[first_query : first_query + tiling.queries], dtype=np.float32, order="C")
        excluded_batch = excluded.batch(first_query, first_query + len(query_batch)) if excluded is not None else None
        # |fl(xᵀy) - xᵀy| <= width u Σ|x_a y_a| in any order of summation (Higham 2002, section 3.1), and a few u more
        # for the rounding of the score and of the bounds that are computed with it.
        error = (width + 8) * _UNIT_ROUNDOFF * _norms(query_batch)
        for number, first_item in enumerate(range(0, len(items), tiling.items)):
            item_batch = np.asarray(items[first_item : first_item + tiling.items])
            scores = buffer[: len(query_batch) * len(item_batch)].reshape(len(query_batch), len(item_batch))
            np.matmul(query_batch, item_batch.T, out=scores)
            error_of_tile = (error * longest[number]).astype(np.float32)
            tile = Tile(first_query, first_item, query_batch, item_batch, scores, error_of_tile)
            if excluded_batch is not None:
                exclude(tile, excluded_batch)
            yield tile


def _norms(rows: Float32Array) -> Float64Array:
    norms: Float64Array = np.sqrt(squared_lengths(rows))
    return norms


class _Inside(NamedTuple):
    """Entries of lists whose items are in a tile, and the queries and items of these, as the tile numbers them."""

    entries: Int64Array
    queries: Int64Array
    items: Int32Array


def _entries_inside(tile: Tile, lists: ItemLists) -> _Inside:
    end_item = tile.first_item + tile.scores.shape[1]
    entries = np.flatnonzero((lists.positions >= tile.first_item) & (lists.positions < end_item))
    queries = np.searchsorted(lists.indptr, entries, side="right") - 1
    return _Inside(entries, queries, lists.positions[entries] - tile.first_item)


def _exclude(tile: Tile, excluded: ItemLists) -> None:
    """Exclude the listed items of the tile's queries."""
    inside = _entries_inside(tile, excluded)
    tile.scores[inside.queries, inside.items] = _EXCLUDED


def _scores(queries: Float32Array, items: Float32Array) -> Float32Array:
    """The score of each query with the item of the same row; both (n, width)."""
    scores: Float32Array = (queries.astype(np.float64) * items).sum(axis=1).astype(np.float32)
    return scores


def _improve(tile: Tile, positions: Int32Array, best: Float32Array) -> None:
    """Merge the items of a tile into the best so far, (n, k) positions and scores, in place."""
    n, k = best.shape
    scores = tile.scores
    least = best[:, -1] - tile.error
    if scores.shape[1] > k:  # k items of the tile have true scores above this
        least = np.maximum(least, np.partition(scores, -k, axis=1)[:, -k] - 2 * tile.error)
    query, item = np.nonzero((scores >= least[:, None]) & (scores > _EXCLUDED))
    merged_queries = np.concatenate([np.repeat(np.arange(n), k), query])
    merged_positions = np.concatenate([positions.ravel(), (item + tile.first_item).astype(np.int32)])
    merged_scores = np.concatenate([best.ravel(), _scores(tile.queries[query], tile.items[item])])
    order = np.lexsort((merged_positions, -merged_scores, merged_queries))
    first = np.searchsorted(merged_queries[order], np.arange(n))
    top = order[first[:, None] + np.arange(k)]  # (n, k)
    positions[:], best[:] = merged_positions[top], merged_scores[top]


def _count(tile: Tile, wanted: ItemLists, wanted_scores: Float32Array, ties: int, before: Int64Array) -> None:
    """Add to ``before`` how many items of a tile come before each wanted one; ``ties`` is an index into `_TIES`."""
    for query in range(len(tile.queries)):
        row, error = tile.scores[query], tile.error[query]
        for entry in range(wanted.indptr[query], wanted.indptr[query + 1]):
            score, position = wanted_scores[entry], wanted.positions[entry]
            above = row > score + error
            unsure = np.flatnonzero((row >= score - error) & ~above)
            true = _scores(tile.queries[np.full(len(unsure), query)], tile.items[unsure])
            unsure_positions = unsure + tile.first_item
            tied = (true == score) & (unsure_positions != position)
            first = tied & (unsure_positions < position) if ties == 0 else tied & (ties == 1)
            before[entry] += above.sum() + (true > score).sum() + first.sum()
