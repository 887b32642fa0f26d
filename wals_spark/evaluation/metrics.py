"""Ranking metrics of users: each a numerator and a denominator, so that any set of users is judged by their sums.

The value of a metric over some users is Σ numerators / Σ denominators. A metric that is a mean over users has a
denominator of 1 in each; the percentile rank is weighted by ratings, and what is said of the lists by their lengths.

Below, a user has n test items with places p_1 < p_2 < ... < p_n, from 0, among the user's candidates; hits at k are
those below k.

| metric | of a user | over users |
|---|---|---|
| recall@k | hits / n (``test``: LightGCN), or hits / min(k, n) (``capped``: Liang et al. 2018) | mean |
| precision@k | hits / k | mean |
| ndcg@k | Σ_hits 1/log2(p + 2) over its largest value, Σ_{j < min(k, n)} 1/log2(j + 2) | mean |
| map@k | Σ_hits (j / (p_j + 1)) / min(k, n) (``capped``), or / n (``test``) | mean |
| mrr@k | 1 / (p_1 + 1) if p_1 is a hit, else 0 | mean |
| hit_rate@k | 1 if there is a hit, else 0 | mean |
| percentile_rank | Σ_j r_j p_j / (candidates - 1), with r the test ratings | over Σ_j r_j |
| novelty@k | Σ -log2(share of training users who have the item), over the k recommended | over items recommended |
| tail_share@k | how many of the k recommended are tail items | over items recommended |
| coverage@k | | share of the catalogue that is recommended to anybody |

One test item a user (He et al. 2017, leave-one-out) makes ndcg ln 2 / ln(p + 2), and recall the hit rate. The
percentile rank is eq. 8 of Hu, Koren and Volinsky (2008): 0 is the head of the list, 1 its end, 1/2 what chance gives.
Coverage is no sum over users: see `first_places`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from wals_spark.arrays.types import BoolArray, Float64Array, FloatArray, Int32Array, Int64Array
from wals_spark.ranking.top_k import Ties

OF_PLACES = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate", "percentile_rank")
OF_LISTS = ("coverage", "novelty", "tail_share")
NEED_POPULARITY = ("novelty", "tail_share")
METRICS = (*OF_PLACES, *OF_LISTS)
LOWER_IS_BETTER = ("percentile_rank",)

MISSED = np.iinfo(np.int64).max  # the place of a test item that cannot be ranked: behind all others

Denominator = Literal["test", "capped"]


class Column(NamedTuple):
    """A metric at a length of list; the percentile rank has none."""

    name: str
    k: int | None

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"


@dataclass(frozen=True)
class Measures:
    """What is measured: metrics by name, lengths of list, and denominators where the literature differs."""

    names: tuple[str, ...]
    ks: tuple[int, ...]
    recall: Denominator = "test"
    average_precision: Denominator = "capped"

    @property
    def columns(self) -> list[Column]:
        """One for each metric and k, the columns of `user_sums`; coverage is not among them."""
        add_partial_sums = [name for name in self.names if name != "coverage"]
        return [
            Column(name, k) for name in add_partial_sums for k in ((None,) if name == "percentile_rank" else self.ks)
        ]

    @property
    def list_length(self) -> int:
        """How many items have to be recommended to a user: 0 if no metric asks for lists."""
        return max(self.ks) if set(self.names) & set(OF_LISTS) else 0


class Placed(NamedTuple):
    """Where the test items of some users stand; user u's are ``indptr[u]`` to ``indptr[u + 1]``, in any order.

    ``places`` and ``ratings`` have shape (n_test,), ``candidates`` (n_users,). Every user has a test item; places
    differ within a user, but for `MISSED`.
    """

    indptr: Int64Array
    places: Int64Array
    ratings: Float64Array
    candidates: Int64Array


class Lists(NamedTuple):
    """What some users were recommended, and what a list is judged by.

    ``positions`` has shape (n_users, list_length), best first, -1 where a user has fewer candidates; ``surprise`` and
    ``tail`` are of the items of the catalogue: see `Popularity`.
    """

    positions: Int32Array
    surprise: Float64Array
    tail: BoolArray


@dataclass(frozen=True)
class Popularity:
    """How the training interactions spread over items.

    A tail item has fewer users than ``head_count``: the largest count for which the items with at least so many users
    hold the asked share of all interactions.
    """

    users: int
    head_count: int

    @classmethod
    def of(cls, users: int, counts: Int64Array, items: Int64Array, head_share: float) -> Popularity:
        """From the distribution: ``items[j]`` items have ``counts[j]`` users each, and there are ``users`` of them."""
        order = np.argsort(-counts)
        held = np.cumsum((counts * items)[order])  # (n_counts,)
        last = int(np.searchsorted(held, head_share * held[-1]))
        return cls(users, int(counts[order][last]))

    def surprise(self, counts: FloatArray) -> Float64Array:
        """-log2 of the share of users who have an item (Zhou et al. 2010); one that nobody has counts as if one had."""
        return -np.log2(np.maximum(counts.astype(np.float64), 1.0) / self.users)

    def tail(self, counts: FloatArray) -> BoolArray:
        """Which items are tail items."""
        return np.asarray(counts < self.head_count)


def user_sums(placed: Placed, lists: Lists | None, measures: Measures) -> tuple[Float64Array, Float64Array]:
    """The numerator and the denominator of each column in each user, both of shape (n_users, n_columns)."""
    n_users = len(placed.indptr) - 1
    values = np.empty((n_users, len(measures.columns)))
    weights = np.ones_like(values)
    ordered = _Ordered.of(placed)
    for number, (name, k) in enumerate(measures.columns):
        if name == "percentile_rank":
            values[:, number], weights[:, number] = _percentile_rank(placed)
        elif name in OF_LISTS:
            assert lists is not None  # measures.list_length asked for them
            values[:, number], weights[:, number] = _of_lists(name, k or 0, lists)
        else:
            values[:, number] = _at(name, k or 0, ordered, measures)
    return values, weights


def apart(indptr: Int64Array, places: Int64Array, ties: Ties) -> Int64Array:
    """The places of test items as if those of a user that tie stood one after the other, in places of their own.

    `ranking.ranks` lets m test items that tie all count each other (``against``: they all have the last of the m places
    they take), or none of them (``for``: the first).
    """
    if ties == "order":
        return places
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((places, rows))
    _, first, sizes = np.unique(np.stack([rows, places])[:, order], axis=1, return_index=True, return_counts=True)
    numbers = np.arange(len(places)) - np.repeat(first, sizes)  # from 0, in each group
    moved = numbers if ties == "for" else numbers - np.repeat(sizes - 1, sizes)
    spread = np.empty_like(places)
    spread[order] = places[order] + moved
    return spread


def first_places(positions: Int32Array) -> tuple[Int64Array, Int64Array]:
    """Each item that is in a list, and the best place it has in any: what coverage is counted from, at every k.

    Coverage@k is the number of items whose best place over all users is below k, over the size of the catalogue.
    """
    items, first = np.unique(positions.T.ravel(), return_index=True)  # place by place: the first is the best
    places = first // max(1, len(positions))
    return items[items >= 0].astype(np.int64), places[items >= 0].astype(np.int64)


class _Ordered(NamedTuple):
    """Places sorted within each user, with the user's row and, from 0, the item's number among the user's."""

    rows: Int64Array  # (n_test,)
    places: Float64Array  # (n_test,)
    numbers: Int64Array  # (n_test,)
    counts: Int64Array  # (n_users,)

    @classmethod
    def of(cls, placed: Placed) -> _Ordered:
        counts = np.diff(placed.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        places = placed.places[np.lexsort((placed.places, rows))].astype(np.float64)
        return cls(rows, places, np.arange(len(rows)) - placed.indptr[rows], counts)


def _at(name: str, k: int, ordered: _Ordered, measures: Measures) -> Float64Array:
    """A metric of places, shape (n_users,)."""
    rows, places, numbers, n_test = ordered
    hits = places < k

    def over_hits(gains: Float64Array) -> Float64Array:
        return _sums(rows, np.where(hits, gains, 0.0), len(n_test))

    first = numbers == 0
    capped = np.minimum(k, n_test)
    if name == "recall":
        return over_hits(np.ones_like(places)) / (n_test if measures.recall == "test" else capped)
    if name == "precision":
        return over_hits(np.ones_like(places)) / k
    if name == "ndcg":
        ideal: Float64Array = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))  # (k,): of 1, 2, ..., k test items
        gain: Float64Array = over_hits(1.0 / np.log2(places + 2.0)) / ideal[capped - 1]
        return gain
    if name == "map":
        precisions = over_hits((numbers + 1.0) / (places + 1.0))
        return precisions / (n_test if measures.average_precision == "test" else capped)
    if name == "mrr":
        return over_hits(np.where(first, 1.0 / (places + 1.0), 0.0))
    return over_hits(np.where(first, 1.0, 0.0))  # hit_rate


def _percentile_rank(placed: Placed) -> tuple[Float64Array, Float64Array]:
    n_users = len(placed.candidates)
    rows = np.repeat(np.arange(n_users), np.diff(placed.indptr))
    share = np.minimum(placed.places / np.maximum(placed.candidates - 1, 1)[rows], 1.0)
    return _sums(rows, placed.ratings * share, n_users), _sums(rows, placed.ratings, n_users)


def _of_lists(name: str, k: int, lists: Lists) -> tuple[Float64Array, Float64Array]:
    positions = lists.positions[:, :k]
    of_item = lists.surprise if name == "novelty" else lists.tail
    there = positions >= 0
    return np.where(there, of_item[positions], 0.0).sum(axis=1), there.sum(axis=1).astype(np.float64)


def _sums(rows: Int64Array, values: Float64Array, n_users: int) -> Float64Array:
    """Of the values of each user, shape (n_users,)."""
    return np.asarray(np.bincount(rows, values, minlength=n_users), dtype=np.float64)
