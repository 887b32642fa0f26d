"""The best items of each query, and the ranks of given ones, among all items: exact, whatever the sizes of blocks.

A score is the dot product of a query's row and an item's, summed in float64 and rounded once to float32. It depends
on the two rows alone, and equal scores are in the order of the items' positions. BLAS is faster and does not give
that: its last bits depend on the place in the product. So products only say which items are out of the question, by
a bound on their error, and the few that are left are scored as above. (Compiled loops add in another order than NumPy:
in float64, so that one score in a hundred million may round the other way.)
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import AnyArray, Float32Array, Float64Array, Indices, Int32Array, Int64Array
from wals_spark.ranking.kernels import numba_kernels

Ties = Literal["order", "against", "for"]

_UNIT = 2.0**-24  # of rounding to float32

OUT = np.float32(-np.inf)  # the score of what is no candidate


class Products(NamedTuple):
    """How the work is done, of which the results do not depend: queries and items of one product, and by which loops.

    With the sizes given here a product's scores are 2 MB, which are read again at once; measured, others are no faster.
    """

    queries: int = 256
    items: int = 2048
    compiled: bool = True


class ItemLists(NamedTuple):
    """A list of items for each query: those of query q are ``positions[indptr[q]:indptr[q + 1]]``, ascending.

    Shapes (n_queries + 1,) and (n,).
    """

    indptr: Int64Array
    positions: Int32Array

    @classmethod
    def of(cls, queries: Int64Array, positions: Indices, n_queries: int) -> ItemLists:
        """Lists from pairs in any order; repeated pairs count once, positions below 0 (unknown items) not at all."""
        known = positions >= 0
        pairs = queries[known] << 32 | positions[known]
        pairs.sort()  # what `np.unique` does, without its hash table, ten times slower with millions of pairs
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        indptr = np.searchsorted(pairs, np.arange(n_queries + 1, dtype=np.int64) << 32)
        return cls(indptr.astype(np.int64), (pairs & 0xFFFFFFFF).astype(np.int32))

    @classmethod
    def empty(cls, n_queries: int) -> ItemLists:
        """No item for any of so many queries."""
        return cls(np.zeros(n_queries + 1, dtype=np.int64), np.empty(0, dtype=np.int32))

    def some(self, begin: int, end: int) -> ItemLists:
        """The lists of the queries from ``begin`` to before ``end``."""
        indptr = self.indptr[begin : end + 1]
        return ItemLists(indptr - indptr[0], self.positions[indptr[0] : indptr[-1]])

    def queries(self) -> Int64Array:
        """The query that each entry belongs to, shape (n,)."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


_DEFAULT = Products()


class TopK(NamedTuple):
    """The best items of each query, best first: positions and scores, both (n_queries, k).

    A query with fewer than k candidates ends in position -1 and score -inf.
    """

    positions: Int32Array
    scores: Float32Array


def top_k(
    queries: Float32Array,
    items: Float32Array,
    k: int,
    *,
    excluded: ItemLists | None = None,
    products: Products = _DEFAULT,
) -> TopK:
    """The ``k`` items of highest score for each query, ``excluded`` ones left out: equal to a full stable sort.

    Parameters
    ----------
    queries
        Shape (n_queries, width); finite, and so that no product with an item is beyond float32.
    items
        Shape (n_items, width); read in tiles, so a memory-mapped file will do.
    """
    found = TopK(np.full((len(queries), k), -1, dtype=np.int32), np.full((len(queries), k), OUT, dtype=np.float32))
    loops = _loops(products)
    improve = _improve if loops is None else loops.improve
    for tile in _tiles(queries, items, excluded, products):
        block = slice(tile.query, tile.query + len(tile.queries))
        improve(*tile.arrays, found.positions[block], found.scores[block])
    return found


def ranks(
    queries: Float32Array,
    items: Float32Array,
    wanted: ItemLists,
    *,
    excluded: ItemLists | None = None,
    ties: Ties = "order",
    products: Products = _DEFAULT,
) -> Int64Array:
    """How many candidates come before each wanted item, shape (len(wanted.positions),).

    Candidates of a query are the items that it does not exclude, and those it wants even if it excludes them. ``ties``
    says which of the other items of equal score come before: those of lower position (order), all (against) or none.
    """
    before = np.zeros(len(wanted.positions), dtype=np.int64)
    scores = pair_scores(queries, items, wanted)
    loops = _loops(products)
    count = _count if loops is None else loops.count
    for tile in _tiles(queries, items, excluded, products):
        some = wanted.some(tile.query, tile.query + len(tile.queries))
        entries = slice(wanted.indptr[tile.query], wanted.indptr[tile.query + len(tile.queries)])
        inside, query, item = _inside(tile.item, tile.scores.shape[1], *some)
        tile.scores[query, item] = scores[entries][inside]
        count(*tile.arrays, *some, scores[entries], ("order", "against", "for").index(ties), before[entries])
    return before


def pair_scores(queries: Float32Array, items: Float32Array, pairs: ItemLists) -> Float32Array:
    """The score of each query with each item of its list, shape (len(pairs.positions),)."""
    scores = np.empty(len(pairs.positions), dtype=np.float32)
    numbers = pairs.queries()
    for begin in range(0, len(scores), 65_536):
        part = slice(begin, begin + 65_536)
        scores[part] = _scores(queries[numbers[part]], items[pairs.positions[part]])
    return scores


class _Tile(NamedTuple):
    """The product of some queries with some items, from the query and the item of these numbers on.

    ``scores`` (n, m) are off the true ones by at most ``error`` (n,); those of excluded items are -inf.
    """

    query: int
    item: int
    queries: Float32Array
    items: Float32Array
    scores: Float32Array
    error: Float32Array

    @property
    def arrays(self) -> tuple[int, Float32Array, Float32Array, Float32Array, Float32Array]:
        return self.item, self.queries, self.items, self.scores, self.error


def _loops(products: Products) -> ModuleType | None:
    return numba_kernels() if products.compiled else None


def _tiles(
    queries: Float32Array, items: Float32Array, excluded: ItemLists | None, products: Products
) -> Iterator[_Tile]:
    """All products, the items of a block of queries in ascending order; a tile is overwritten by the next."""
    width = queries.shape[1]
    longest = [_norms(items[item : item + products.items]).max() for item in range(0, len(items), products.items)]
    loops = _loops(products)
    exclude = _exclude if loops is None else loops.exclude
    buffer = np.empty(products.queries * products.items, dtype=np.float32)
    for query in range(0, len(queries), products.queries):
        block = np.array(queries[query : query + products.queries], dtype=np.float32, order="C")
        out = excluded.some(query, query + len(block)) if excluded is not None else None
        # |fl(xᵀy) - xᵀy| <= width u Σ|x_a y_a| in any order of summation (Higham 2002, section 3.1), and a few u more
        # for the rounding of the score and of the bounds that are made with it.
        error = (width + 8) * _UNIT * _norms(block)
        for number, item in enumerate(range(0, len(items), products.items)):
            tile = np.asarray(items[item : item + products.items])
            scores = buffer[: len(block) * len(tile)].reshape(len(block), len(tile))
            np.matmul(block, tile.T, out=scores)
            if out is not None:
                exclude(item, scores, *out)
            yield _Tile(query, item, block, tile, scores, (error * longest[number]).astype(np.float32))


def _norms(rows: Float32Array) -> Float64Array:
    norms: Float64Array = np.sqrt(squared_lengths(rows))
    return norms


def _exclude(start: int, scores: Float32Array, indptr: Int64Array, positions: Int32Array) -> None:
    """Take listed items out of a tile."""
    _, query, item = _inside(start, scores.shape[1], indptr, positions)
    scores[query, item] = OUT


def _inside(start: int, size: int, indptr: Int64Array, positions: Int32Array) -> tuple[AnyArray, ...]:
    """Which entries are of items of a tile; their queries, and their items as the tile numbers them."""
    inside = np.flatnonzero((positions >= start) & (positions < start + size))
    return inside, np.searchsorted(indptr, inside, side="right") - 1, positions[inside] - start


def _scores(queries: Float32Array, items: Float32Array) -> Float32Array:
    """The score of each query with the item beside it; both (n, width)."""
    scores: Float32Array = (queries.astype(np.float64) * items).sum(axis=1).astype(np.float32)
    return scores


def _improve(
    start: int,
    queries: Float32Array,
    items: Float32Array,
    scores: Float32Array,
    error: Float32Array,
    positions: Int32Array,
    best: Float32Array,
) -> None:
    """Put the items of a tile among the best so far, in place."""
    n, k = best.shape
    least = best[:, -1] - error
    if scores.shape[1] > k:  # k items of the tile have true scores above this
        least = np.maximum(least, np.partition(scores, -k, axis=1)[:, -k] - 2 * error)
    query, item = np.nonzero((scores >= least[:, None]) & (scores > OUT))
    query_ = np.concatenate([np.repeat(np.arange(n), k), query])
    position_ = np.concatenate([positions.ravel(), (item + start).astype(np.int32)])
    score_ = np.concatenate([best.ravel(), _scores(queries[query], items[item])])
    order = np.lexsort((position_, -score_, query_))
    first = np.searchsorted(query_[order], np.arange(n))
    chosen = order[first[:, None] + np.arange(k)]  # (n, k)
    positions[:], best[:] = position_[chosen], score_[chosen]


def _count(
    start: int,
    queries: Float32Array,
    items: Float32Array,
    scores: Float32Array,
    error: Float32Array,
    indptr: Int64Array,
    wanted: Int32Array,
    wanted_scores: Float32Array,
    ties: int,
    before: Int64Array,
) -> None:
    """Add to ``before`` how many items of a tile come before each wanted one."""
    for query in range(len(queries)):
        for entry in range(indptr[query], indptr[query + 1]):
            score, row = wanted_scores[entry], scores[query]
            above = row > score + error[query]
            unsure = np.flatnonzero((row >= score - error[query]) & ~above)
            true = _scores(queries[np.full(len(unsure), query)], items[unsure])
            tied = (true == score) & (unsure + start != wanted[entry])
            first = tied & (unsure + start < wanted[entry]) if ties == 0 else tied & (ties == 1)
            before[entry] += above.sum() + (true > score).sum() + first.sum()
