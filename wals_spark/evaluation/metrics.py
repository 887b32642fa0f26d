"""Ranking metrics per user: each a numerator and a denominator, so that their sums give the metric of any set of users.

The value of a metric over a set of users is Σ numerators / Σ denominators. A metric that is a mean over users has a
denominator of 1 per user; the percentile rank is weighted by ratings, and metrics of recommended lists by list length.

Below, a user has n held-out items with ranks p_1 < p_2 < ... < p_n among the user's candidates. Ranks are counted
from 0. The hits at k are the held-out items with a rank below k.

| metric | per user | over users |
|---|---|---|
| recall@k | hits / n (``test``: LightGCN), or hits / min(k, n) (``capped``: Liang et al. 2018) | mean |
| precision@k | hits / k | mean |
| ndcg@k | Σ_hits 1/log2(p + 2), divided by its maximum, Σ_{j < min(k, n)} 1/log2(j + 2) | mean |
| map@k | Σ_hits (j / (p_j + 1)) / min(k, n) (``capped``), or / n (``test``) | mean |
| mrr@k | 1 / (p_1 + 1) if p_1 is a hit, else 0 | mean |
| hit_rate@k | 1 if there is a hit, else 0 | mean |
| percentile_rank | Σ_j r_j p_j / (candidates - 1), where r_j are the held-out ratings | divided by Σ_j r_j |
| novelty@k | Σ -log2(fraction of training users who have the item), over the k recommended | per recommended item |
| tail_share@k | number of tail items among the k recommended | per recommended item |
| coverage@k | | fraction of the catalogue that is recommended to at least one user |

With one held-out item per user (leave-one-out, He et al. 2017), ndcg is ln 2 / ln(p + 2) and recall is the hit rate.
The percentile rank is equation 8 of Hu, Koren and Volinsky (2008): 0 is the head of the list, 1 its end, and a random
order has 1/2. Coverage is not a sum over users: see `best_ranks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from wals_spark.arrays.types import BoolArray, Float64Array, FloatArray, Int32Array, Int64Array
from wals_spark.ranking.top_k import Ties

RANK_METRICS = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate", "percentile_rank")
LIST_METRICS = ("coverage", "novelty", "tail_share")
NEED_POPULARITY = ("novelty", "tail_share")
METRICS = (*RANK_METRICS, *LIST_METRICS)
RATING_METRICS = ("rmse", "mae")
"""Of predicted ratings, for models of ratings: the others are of ranks."""
LOWER_IS_BETTER = ("percentile_rank", *RATING_METRICS)

UNRANKED = np.iinfo(np.int64).max
"""The rank of a held-out item that the model does not know: behind every candidate."""

Denominator = Literal["test", "capped"]


class Column(NamedTuple):
    """A metric at a list length k; the percentile rank has no k."""

    name: str
    k: int | None

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"


@dataclass(frozen=True)
class Measures:
    """Which metrics are computed, at which list lengths, and the denominators on which the literature differs."""

    names: tuple[str, ...]
    ks: tuple[int, ...]
    recall: Denominator
    average_precision: Denominator

    @property
    def columns(self) -> list[Column]:
        """The columns of `user_fractions`: one per metric and k, without coverage, which is not a sum over users."""
        summable = [name for name in self.names if name != "coverage"]
        return [Column(name, k) for name in summable for k in ((None,) if name == "percentile_rank" else self.ks)]

    @property
    def list_length(self) -> int:
        """How many items have to be recommended to each user; 0 if no metric needs recommended lists."""
        return max(self.ks) if set(self.names) & set(LIST_METRICS) else 0


class HeldOutRanks(NamedTuple):
    """The ranks of held-out items among each user's candidates, counted from 0.

    The items of user u are ``indptr[u]`` to ``indptr[u + 1]``, in any order. ``ranks`` and ``ratings`` have shape
    (n_held_out,), ``candidates``, the number of candidates per user, (n_users,). Every user has at least one held-out
    item; the ranks of a user are distinct, except `UNRANKED`.
    """

    indptr: Int64Array
    ranks: Int64Array
    ratings: Float64Array
    candidates: Int64Array


class RecommendedLists(NamedTuple):
    """The items recommended to users, and the properties of items that list metrics add up.

    ``positions`` has shape (n_users, list_length), best first, padded with -1 where a user has fewer candidates;
    ``self_information`` and ``is_tail`` are indexed by item, shape (n_items,): see `Popularity`.
    """

    positions: Int32Array
    self_information: Float64Array
    is_tail: BoolArray


@dataclass(frozen=True)
class Popularity:
    """How the training interactions are distributed over items.

    A tail item has fewer users than ``head_count``: the largest count for which the items with at least that many
    users hold the requested share of all interactions. ``n_users`` is the number of training users, ``n_pairs`` that of
    interactions, each (user, item) pair once.
    """

    n_users: int
    head_count: int
    n_pairs: int

    @classmethod
    def of(cls, n_users: int, counts: Int64Array, items: Int64Array, head_share: float) -> Popularity:
        """Compute from the distribution of counts: ``items[j]`` items have ``counts[j]`` users each."""
        order = np.argsort(-counts)
        cumulative = np.cumsum((counts * items)[order])  # (n_counts,)
        last = int(np.searchsorted(cumulative, head_share * cumulative[-1]))
        return cls(n_users, int(counts[order][last]), int(cumulative[-1]))

    def self_information(self, counts: FloatArray) -> Float64Array:
        """-log2 of the fraction of users who have an item (Zhou et al. 2010); items without users count as with one."""
        return -np.log2(np.maximum(counts.astype(np.float64), 1.0) / self.n_users)

    def is_tail(self, counts: FloatArray) -> BoolArray:
        """Which items are tail items."""
        return np.asarray(counts < self.head_count)


def user_fractions(
    held_out: HeldOutRanks, lists: RecommendedLists | None, measures: Measures
) -> tuple[Float64Array, Float64Array]:
    """The numerator and the denominator of each metric for each user, both of shape (n_users, n_columns)."""
    n_users = len(held_out.indptr) - 1
    numerators = np.empty((n_users, len(measures.columns)))
    denominators = np.ones_like(numerators)
    sorted_ranks = _SortedRanks.of(held_out)
    for column, (name, k) in enumerate(measures.columns):
        if name == "percentile_rank":
            numerators[:, column], denominators[:, column] = _percentile_rank(held_out)
        elif name in LIST_METRICS:
            assert lists is not None  # measures.list_length asked for them
            numerators[:, column], denominators[:, column] = _list_metric(name, k or 0, lists)
        else:
            numerators[:, column] = _AT_K[name](_AtK(sorted_ranks, k or 0, measures))
    return numerators, denominators


def separate_ties(indptr: Int64Array, ranks: Int64Array, ties: Ties) -> Int64Array:
    """Give held-out items of one user that tie with each other consecutive ranks.

    Of m tied held-out items, `ranking.ranks` counts each one behind all the others (``against``: all have the last of
    the m ranks), or none behind another (``for``: all have the first).
    """
    if ties == "order":
        return ranks
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((ranks, users))
    _, first, sizes = np.unique(np.stack([users, ranks])[:, order], axis=1, return_index=True, return_counts=True)
    ordinals = np.arange(len(ranks)) - np.repeat(first, sizes)  # from 0, within each group of ties
    shifts = ordinals if ties == "for" else ordinals - np.repeat(sizes - 1, sizes)
    separated = np.empty_like(ranks)
    separated[order] = ranks[order] + shifts
    return separated


def best_ranks(positions: Int32Array) -> tuple[Int64Array, Int64Array]:
    """Each item that is recommended to at least one user, and its best rank in any list, from 0: for coverage at any k.

    Coverage@k is the number of items whose best rank over all users is below k, divided by the size of the catalogue.
    """
    items, first = np.unique(positions.T.ravel(), return_index=True)  # rank by rank: the first occurrence is the best
    ranks = first // max(1, len(positions))
    return items[items >= 0].astype(np.int64), ranks[items >= 0].astype(np.int64)


class _SortedRanks(NamedTuple):
    """Ranks in ascending order within each user; ``ordinals`` number a user's held-out items in this order, from 0."""

    users: Int64Array  # (n_held_out,)
    ranks: Float64Array  # (n_held_out,)
    ordinals: Int64Array  # (n_held_out,)
    counts: Int64Array  # (n_users,): held-out items per user

    @classmethod
    def of(cls, held_out: HeldOutRanks) -> _SortedRanks:
        counts = np.diff(held_out.indptr)
        users = np.repeat(np.arange(len(counts)), counts)
        ranks = held_out.ranks[np.lexsort((held_out.ranks, users))].astype(np.float64)
        return cls(users, ranks, np.arange(len(users)) - held_out.indptr[users], counts)


class _AtK(NamedTuple):
    """Ranks of held-out items, as a metric at a list length k reads them."""

    held_out: _SortedRanks
    k: int
    measures: Measures

    @property
    def capped(self) -> Int64Array:
        """The most hits that a list of k can have, shape (n_users,)."""
        return np.minimum(self.k, self.held_out.counts)

    def sum_over_hits(self, gains: Float64Array) -> Float64Array:
        """The sum of the gains of each user's hits, shape (n_users,)."""
        users, ranks, _, counts = self.held_out
        return _sum_by_user(users, np.where(ranks < self.k, gains, 0.0), len(counts))

    def first_only(self, gains: Float64Array) -> Float64Array:
        """The gains of each user's best-ranked held-out item alone."""
        return np.where(self.held_out.ordinals == 0, gains, 0.0)


def recall(at: _AtK) -> Float64Array:
    """Of each user, shape (n_users,), as all that follow; the table above has the formulas."""
    hits = at.sum_over_hits(np.ones_like(at.held_out.ranks))
    return hits / (at.held_out.counts if at.measures.recall == "test" else at.capped)


def precision(at: _AtK) -> Float64Array:
    """Hits over k."""
    return at.sum_over_hits(np.ones_like(at.held_out.ranks)) / at.k


def ndcg(at: _AtK) -> Float64Array:
    """Discounted cumulative gain of the hits over its largest value."""
    ideal: Float64Array = np.cumsum(1.0 / np.log2(np.arange(at.k) + 2.0))  # (k,): with 1, 2, ..., k held-out items
    gain: Float64Array = at.sum_over_hits(1.0 / np.log2(at.held_out.ranks + 2.0)) / ideal[at.capped - 1]
    return gain


def average_precision(at: _AtK) -> Float64Array:
    """Mean precision at the ranks of the hits; its mean over users is MAP."""
    precisions = at.sum_over_hits((at.held_out.ordinals + 1.0) / (at.held_out.ranks + 1.0))
    return precisions / (at.held_out.counts if at.measures.average_precision == "test" else at.capped)


def reciprocal_rank(at: _AtK) -> Float64Array:
    """1 / (rank + 1) of the best-ranked held-out item, if it is a hit."""
    return at.sum_over_hits(at.first_only(1.0 / (at.held_out.ranks + 1.0)))


def hit_rate(at: _AtK) -> Float64Array:
    """Whether there is a hit."""
    return at.sum_over_hits(at.first_only(np.ones_like(at.held_out.ranks)))


_AT_K = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "hit_rate": hit_rate,
}


def _percentile_rank(held_out: HeldOutRanks) -> tuple[Float64Array, Float64Array]:
    n_users = len(held_out.candidates)
    users = np.repeat(np.arange(n_users), np.diff(held_out.indptr))
    percentiles = np.minimum(held_out.ranks / np.maximum(held_out.candidates - 1, 1)[users], 1.0)
    numerators = _sum_by_user(users, held_out.ratings * percentiles, n_users)
    return numerators, _sum_by_user(users, held_out.ratings, n_users)


def _list_metric(name: str, k: int, lists: RecommendedLists) -> tuple[Float64Array, Float64Array]:
    positions = lists.positions[:, :k]
    value_of_item = {"novelty": lists.self_information, "tail_share": lists.is_tail}[name]
    present = positions >= 0
    return np.where(present, value_of_item[positions], 0.0).sum(axis=1), present.sum(axis=1).astype(np.float64)


def _sum_by_user(users: Int64Array, values: Float64Array, n_users: int) -> Float64Array:
    """The sum of each user's values, shape (n_users,)."""
    return np.asarray(np.bincount(users, values, minlength=n_users), dtype=np.float64)
