"""A batch of users evaluated: ranks of held-out items by the model and by popularity, as sums that can be added."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, UInt64Array
from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.metrics import (
    UNRANKED,
    HeldOutRanks,
    Measures,
    Popularity,
    RecommendedLists,
    best_ranks,
    separate_ties,
    user_fractions,
)
from wals_spark.ranking.top_k import ItemLists, Ties, pair_scores, ranks, top_k


@dataclass(frozen=True)
class Protocol:
    """How users are evaluated.

    Full: a held-out item is ranked among all items of the catalogue except those the user has in training. Sampled: it
    is ranked among the user's held-out items and the user's sampled candidates, whatever is in training. ``ties`` says
    which of the candidates of equal score rank before it: all that are not held out (``against``), none of them
    (``for``), or those of smaller id (``order``). ``replicates`` is the number of bootstrap replicates.
    """

    measures: Measures
    ties: Ties
    replicates: int
    sampled: bool


class Catalogue(NamedTuple):
    """The items that are ranked, in ascending order of their ids.

    ``items`` are the model's item factors, shape (n_items, width); ``counts``, shape (n_items, 1), is the number of
    training users per item. The popularity baseline is a model of width 1: the counts are its item factors, and each
    user's factor is 1.
    """

    items: Float32Array
    counts: Float32Array | None
    popularity: Popularity | None


class Pairs(NamedTuple):
    """(user, item) pairs: row of the user in the batch and position of the item in the catalogue (-1: unknown).

    Both arrays have shape (n_pairs,).
    """

    users: Int64Array
    items: Int32Array

    def where(self, mask: BoolArray) -> Pairs:
        """The pairs for which ``mask``, shape (n_pairs,), is true."""
        return Pairs(self.users[mask], self.items[mask])

    def isin(self, others: Pairs) -> BoolArray:
        """Which of the pairs are among the others, shape (n_pairs,); a pair of an unknown item never is."""
        return np.isin(self.keys, others.keys) & (self.items >= 0)

    @property
    def keys(self) -> Int64Array:
        """An integer per pair, equal for equal pairs only; shape (n_pairs,)."""
        return (self.users << 32) + self.items


class UserBatch(NamedTuple):
    """The users of a batch with all that is needed to evaluate them.

    ``bootstrap_keys`` have shape (n_users,), ``factors`` (n_users, width). ``held_out`` has each pair once, in any
    order, with ``ratings`` of the same length; ``seen`` are pairs in training. ``candidates`` belong to the sampled
    protocol and are empty in the full one.
    """

    bootstrap_keys: UInt64Array
    factors: Float32Array
    held_out: Pairs
    ratings: Float64Array
    seen: Pairs
    candidates: Pairs


class BatchResult(NamedTuple):
    """Sums over users, the columns of the model before those of popularity; recommended items; and counts.

    ``recommended`` has, per model, the positions of recommended items and the best rank of each in any list, from 0.
    """

    sums: MetricSums
    recommended: list[tuple[Int64Array, Int64Array]]
    counts: Counter[str]


def evaluate_batch(batch: UserBatch, catalogue: Catalogue, protocol: Protocol) -> BatchResult:
    """Rank the held-out items of users; held-out pairs that are in training are left out and counted."""
    in_training = batch.held_out.isin(batch.seen)
    held_out, ratings = batch.held_out.where(~in_training), batch.ratings[~in_training]
    users, rows = np.unique(held_out.users, return_inverse=True)  # users without held-out pairs are left out
    counts = Counter(
        {
            "test_pairs": len(in_training),
            "test_pairs_in_training": int(in_training.sum()),
            "test_pairs_of_unknown_items": int((held_out.items < 0).sum()),
            "candidates_unknown": int((batch.candidates.items < 0).sum()),
            "users": len(users),
        }
    )
    order = np.lexsort((held_out.items, rows))
    held_out, ratings = Pairs(rows[order].astype(np.int64), held_out.items[order]), ratings[order]
    seen, candidates = (_lists_of(pairs, users) for pairs in (batch.seen, batch.candidates))
    models = [(batch.factors[users], catalogue.items)]
    if catalogue.counts is not None:
        models.append((np.ones((len(users), 1), dtype=np.float32), catalogue.counts))
    fractions, recommended = [], []
    for model in models:
        held_out_ranks, n_candidates = _rank_held_out(model, held_out, seen, candidates, protocol)
        indptr = np.searchsorted(held_out.users, np.arange(len(users) + 1)).astype(np.int64)
        lists = None
        if protocol.measures.list_length:
            positions = top_k(*model, protocol.measures.list_length, excluded=seen).positions
            recommended.append(best_ranks(positions))
            lists = _recommended_lists(positions, catalogue)
        ranked = HeldOutRanks(indptr, held_out_ranks, ratings, n_candidates)
        fractions.append(user_fractions(ranked, lists, protocol.measures))
    numerators, denominators = (np.hstack(columns) for columns in zip(*fractions, strict=True))
    sums = MetricSums.of(numerators, denominators, batch.bootstrap_keys[users], protocol.replicates)
    return BatchResult(sums, recommended, counts)


def sampled_ranks(
    queries: Float32Array, items: Float32Array, held_out: ItemLists, candidates: ItemLists, ties: Ties
) -> tuple[Int64Array, Int64Array]:
    """The rank of each held-out item among the held-out and candidate items of its query, and the number of these.

    Shapes (len(held_out.positions),) and (n_queries,); ranks are counted from 0. An item that is both held out and a
    candidate counts once, as held out.
    """
    lists, is_held_out = ranked_lists(held_out, candidates)
    return ranks_of_scores(lists, is_held_out, pair_scores(queries, items, lists), ties), np.diff(lists.indptr)


def ranked_lists(held_out: ItemLists, candidates: ItemLists) -> tuple[ItemLists, BoolArray]:
    """The held-out and candidate items of each query, each once, and which of them are held out."""
    n_queries = len(held_out.indptr) - 1
    held_out_pairs, candidate_pairs = _pairs_of(held_out), _pairs_of(candidates)
    users = np.concatenate([held_out_pairs.users, candidate_pairs.users])
    lists = ItemLists.of(users, np.concatenate([held_out_pairs.items, candidate_pairs.items]), n_queries)
    return lists, _pairs_of(lists).isin(held_out_pairs)


def ranks_of_scores(lists: ItemLists, is_held_out: BoolArray, scores: Float32Array, ties: Ties) -> Int64Array:
    """The rank of each held-out item within its list, from 0; ``scores`` has shape (len(lists.positions),)."""
    queries = lists.queries()
    ranked_last = {"order": np.zeros_like(is_held_out), "against": is_held_out, "for": ~is_held_out}[ties]
    order = np.lexsort((lists.positions, ranked_last, -scores, queries))
    all_ranks = np.empty(len(order), dtype=np.int64)
    all_ranks[order] = np.arange(len(order)) - lists.indptr[queries[order]]
    return all_ranks[is_held_out]


def _rank_held_out(
    model: tuple[Float32Array, Float32Array],
    held_out: Pairs,
    seen: ItemLists,
    candidates: ItemLists,
    protocol: Protocol,
) -> tuple[Int64Array, Int64Array]:
    """The rank of each held-out item by a model (user factors, item factors), and the number of candidates per user.

    ``held_out`` is in the order of users, then items.
    """
    queries, items = model
    known = held_out.items >= 0
    wanted = ItemLists.of(held_out.users, held_out.items, len(queries))
    held_out_ranks = np.full(len(known), UNRANKED)
    if protocol.sampled:
        held_out_ranks[known], n_candidates = sampled_ranks(queries, items, wanted, candidates, protocol.ties)
        return held_out_ranks, n_candidates
    ranked = ranks(queries, items, wanted, excluded=seen, ties=protocol.ties)
    held_out_ranks[known] = separate_ties(wanted.indptr, ranked, protocol.ties)
    return held_out_ranks, len(items) - np.diff(seen.indptr)


def _recommended_lists(positions: Int32Array, catalogue: Catalogue) -> RecommendedLists:
    counts, popularity = catalogue.counts, catalogue.popularity
    if counts is None or popularity is None:  # coverage is the only list metric, and does not need item properties
        unused = np.zeros(len(catalogue.items))
        return RecommendedLists(positions, unused, unused.astype(np.bool_))
    return RecommendedLists(positions, popularity.self_information(counts[:, 0]), popularity.is_tail(counts[:, 0]))


def _lists_of(pairs: Pairs, users: Int64Array) -> ItemLists:
    """The items that ``users``, ascending, have in the pairs: a list per user."""
    of_users = pairs.where(np.isin(pairs.users, users))
    return ItemLists.of(np.searchsorted(users, of_users.users), of_users.items, len(users))


def _pairs_of(lists: ItemLists) -> Pairs:
    return Pairs(lists.queries(), lists.positions)
