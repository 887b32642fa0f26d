"""The top k items per query, and the ranks of wanted items, among all items: exact, whatever the sizes of tiles.

A score is the dot product of a query and an item, summed in float64 and rounded once to float32. It depends on the two
rows alone, and equal scores are in the order of the items' positions. BLAS is faster and does not guarantee that: its
last bits depend on where a pair is in a matrix product. So products only rule out items, by a bound on their error, and
the few that remain are scored as above. Nor are all products computed: a score is at most |x| |y| (Cauchy and Schwarz),
so the top k looks at the longest items first, and ends where no other can be among the best. (The compiled kernels add
in another order than NumPy, in float64, so that one score in a hundred million may round differently.)
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array, Indices, Int32Array, Int64Array
from wals_spark.ranking.kernels import numba_kernels
from wals_spark.ranking.tiles import UNIT_ROUNDOFF, LongestFirst, Tile, Tiling, lengths_of, product

Ties = Literal["order", "against", "for"]

_TIES: tuple[Ties, ...] = ("order", "against", "for")
_EXCLUDED = np.float32(-np.inf)  # the score of what is no candidate
_PAIRS_PER_BATCH = 65_536


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
    longest_first: LongestFirst | None = None,
    tiling: Tiling = _DEFAULT,
) -> TopK:
    """The ``k`` items of highest score per query, without the ``excluded`` ones: equal to a full stable sort.

    Parameters
    ----------
    queries
        Shape (n_queries, width); finite, and so that no product with an item is beyond float32.
    items
        Shape (n_items, width); read in tiles, so that a memory-mapped file is enough.
    longest_first
        `LongestFirst.of` the items, if the caller has it.
    """
    shape = len(queries), k
    best = TopK(np.full(shape, -1, dtype=np.int32), np.full(shape, _EXCLUDED, dtype=np.float32))
    longest_first = longest_first or LongestFirst.of(items)
    buffer = tiling.buffer()
    for first in range(0, len(queries), tiling.queries):
        batch = slice(first, min(first + tiling.queries, len(queries)))
        rows = np.array(queries[batch], dtype=np.float32, order="C")
        lists = excluded.batch(batch.start, batch.stop) if excluded is not None else None
        found = TopK(best.positions[batch], best.scores[batch])
        _top_k_of_batch(rows, items, lists, found, (longest_first, tiling, buffer))
    return best


def _top_k_of_batch(
    queries: Float32Array,
    items: Float32Array,
    excluded: ItemLists | None,
    best: TopK,
    how: tuple[LongestFirst, Tiling, Float32Array],
) -> None:
    """Find the best items of some queries, in place."""
    (order, place, lengths), tiling, buffer = how
    kernels = _kernels(tiling)
    improve, exclude = (kernels.improve, kernels.exclude) if kernels else (_improve, _exclude)
    norms, active = lengths_of(queries), np.arange(len(queries))
    for begin in range(0, len(items), tiling.items):
        # Nothing longer is to come. The last factor is above the rounding of a score to float32.
        active = active[norms[active] * lengths[begin] * (1 + 4 * UNIT_ROUNDOFF) >= best.scores[active, -1]]
        if not len(active):
            return
        positions = order[begin : begin + tiling.items]
        tile = product(queries[active], items[positions], (active, positions), buffer)
        if excluded is not None:
            exclude(tile, excluded, place, begin)
        if len(active) == len(queries):
            improve(tile, best.positions, best.scores)
            continue
        of_active = TopK(best.positions[active], best.scores[active])
        improve(tile, of_active.positions, of_active.scores)
        best.positions[active], best.scores[active] = of_active


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
    count, exclude = (kernels.count, kernels.exclude) if kernels else (_count, _exclude)
    every_position, buffer = np.arange(len(items), dtype=np.int32), tiling.buffer()
    for first in range(0, len(queries), tiling.queries):
        end = min(first + tiling.queries, len(queries))
        rows, numbers = np.array(queries[first:end], dtype=np.float32, order="C"), np.arange(end - first)
        entries = slice(wanted.indptr[first], wanted.indptr[end])
        wanted_batch, wanted_scores = wanted.batch(first, end), scores[entries]
        excluded_batch = excluded.batch(first, end) if excluded is not None else None
        for begin in range(0, len(items), tiling.items):
            positions = every_position[begin : begin + tiling.items]
            tile = product(rows, np.asarray(items[begin : begin + tiling.items]), (numbers, positions), buffer)
            if excluded_batch is not None:
                exclude(tile, excluded_batch, every_position, begin)
            inside = _entries_inside(tile, wanted_batch, every_position, begin)
            tile.scores[inside.rows, inside.items] = wanted_scores[inside.entries]
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


def _kernels(tiling: Tiling) -> ModuleType | None:
    return numba_kernels() if tiling.compiled else None


class _Inside(NamedTuple):
    """Entries of lists whose items are in a tile, and the rows and items of these, as the tile numbers them."""

    entries: Int64Array
    rows: Int64Array
    items: Int32Array


def _entries_inside(tile: Tile, lists: ItemLists, place: Int32Array, begin: int) -> _Inside:
    """``place`` has the place of each position among all items, of which the tile has those from ``begin`` on."""
    row_of_query = np.full(len(lists.indptr) - 1, -1)
    row_of_query[tile.rows] = np.arange(len(tile.rows))
    places = place[lists.positions] - begin
    rows = row_of_query[lists.queries()]
    entries = np.flatnonzero((places >= 0) & (places < len(tile.positions)) & (rows >= 0))
    return _Inside(entries, rows[entries], places[entries])


def _exclude(tile: Tile, excluded: ItemLists, place: Int32Array, begin: int) -> None:
    """Exclude the listed items of the tile's queries; ``place`` and ``begin`` as in `_entries_inside`."""
    inside = _entries_inside(tile, excluded, place, begin)
    tile.scores[inside.rows, inside.items] = _EXCLUDED


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
    merged_positions = np.concatenate([positions.ravel(), tile.positions[item]])
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
            unsure_positions = tile.positions[unsure]
            tied = (true == score) & (unsure_positions != position)
            first = tied & (unsure_positions < position) if ties == 0 else tied & (ties == 1)
            before[entry] += above.sum() + (true > score).sum() + first.sum()
