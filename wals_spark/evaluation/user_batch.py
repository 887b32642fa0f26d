"""A batch of users judged: where their test items stand, by the model and by popularity, as sums that merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, UInt64Array
from wals_spark.evaluation.bootstrap import Sums
from wals_spark.evaluation.metrics import MISSED, Lists, Measures, Placed, Popularity, apart, first_places, user_sums
from wals_spark.ranking.top_k import ItemLists, Ties, pair_scores, ranks, top_k


@dataclass(frozen=True)
class Protocol:
    """How users are judged.

    Full: a test item stands among all items of the catalogue but those the user has in training. Sampled: among the
    user's test items and the candidates given for the user, whatever is in training. ``ties`` says which of the others
    of equal score stand before it: all that are no test items (``against``), none of them (``for``), or those of
    smaller id (``order``).
    """

    measures: Measures
    ties: Ties = "order"
    replicates: int = 200
    sampled: bool = False


class Catalogue(NamedTuple):
    """The items that are ranked, in the order of their ids.

    ``items`` are the model's rows, shape (n_items, width); ``counts``, shape (n_items, 1), how many users in training
    have each. Counts are the rows of a model too: of popularity, where each user's row is 1.
    """

    items: Float32Array
    counts: Float32Array | None
    popularity: Popularity | None


class Pairs(NamedTuple):
    """Users by their number in the batch, items by their position in the catalogue, -1 if unknown; both (n,)."""

    users: Int64Array
    items: Int32Array

    def where(self, kept: BoolArray) -> Pairs:
        """Those of the pairs."""
        return Pairs(self.users[kept], self.items[kept])

    def among(self, others: Pairs) -> BoolArray:
        """Which of the pairs are among the others, too; an unknown item never is."""
        return np.isin(self.codes, others.codes) & (self.items >= 0)

    @property
    def codes(self) -> Int64Array:
        """A number for each pair."""
        return (self.users << 32) + self.items


class Batch(NamedTuple):
    """Users with rows (n_users, width) and the keys of their bootstrap; their pairs in the test, each once; and others.

    ``ratings`` are of the tested pairs. ``candidates`` are of the sampled protocol, and empty in the full one.
    """

    keys: UInt64Array
    rows: Float32Array
    tested: Pairs
    ratings: Float64Array
    seen: Pairs
    candidates: Pairs


class Outcome(NamedTuple):
    """Sums over the users, columns of the model before those of popularity; for each, what was recommended; counts.

    What was recommended is items and the best place of each in any list.
    """

    sums: Sums
    recommended: list[tuple[Int64Array, Int64Array]]
    counts: Counter[str]


def evaluate_batch(batch: Batch, catalogue: Catalogue, protocol: Protocol) -> Outcome:
    """Judge users by their test items; pairs that are in training, too, are left out and counted."""
    shared = batch.tested.among(batch.seen)
    tested, ratings = batch.tested.where(~shared), batch.ratings[~shared]
    counts = Counter(
        {
            "test_pairs": len(shared),
            "test_pairs_in_training": int(shared.sum()),
            "test_pairs_of_unknown_items": int((tested.items < 0).sum()),
            "candidates_unknown": int((batch.candidates.items < 0).sum()),
            "users": len(np.unique(tested.users)),
        }
    )
    users, numbers = np.unique(tested.users, return_inverse=True)
    order = np.lexsort((tested.items, numbers))
    tested, ratings = Pairs(numbers[order].astype(np.int64), tested.items[order]), ratings[order]
    seen, candidates = (_lists(pairs, users) for pairs in (batch.seen, batch.candidates))
    models = [(batch.rows[users], catalogue.items)]
    if catalogue.counts is not None:
        models.append((np.ones((len(users), 1), dtype=np.float32), catalogue.counts))
    columns, recommended = [], []
    for rows, items in models:
        placed = _placed(rows, items, tested, ratings, None if protocol.sampled else seen, candidates, protocol.ties)
        lists = None
        if protocol.measures.list_length:
            shown = top_k(rows, items, protocol.measures.list_length, excluded=seen).positions
            recommended.append(first_places(shown))
            lists = _judged_by_popularity(shown, catalogue)
        columns.append(user_sums(placed, lists, protocol.measures))
    values, weights = (np.hstack(parts) for parts in zip(*columns, strict=True))
    return Outcome(Sums.of(values, weights, batch.keys[users], protocol.replicates), recommended, counts)


def sampled_ranks(
    queries: Float32Array, items: Float32Array, wanted: ItemLists, candidates: ItemLists, ties: Ties
) -> tuple[Int64Array, Int64Array]:
    """Where each wanted item stands among all wanted and candidate ones of its query; and how many those are.

    Shapes (len(wanted.positions),) and (n_queries,). What is both wanted and a candidate counts once, as wanted.
    """
    n_queries = len(wanted.indptr) - 1
    wanted_pairs, others = _pairs(wanted), _pairs(candidates)
    users = np.concatenate([wanted_pairs.users, others.users])
    lists = ItemLists.of(users, np.concatenate([wanted_pairs.items, others.items]), n_queries)
    pairs = _pairs(lists)
    is_wanted = pairs.among(wanted_pairs)
    last = {"order": np.zeros_like(is_wanted), "against": is_wanted, "for": ~is_wanted}[ties]
    order = np.lexsort((pairs.items, last, -pair_scores(queries, items, lists), pairs.users))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - lists.indptr[pairs.users[order]]
    return places[is_wanted], np.diff(lists.indptr)


def _placed(
    rows: Float32Array,
    items: Float32Array,
    tested: Pairs,
    ratings: Float64Array,
    seen: ItemLists | None,
    candidates: ItemLists,
    ties: Ties,
) -> Placed:
    """The places of tested pairs, which are in order; among ``candidates`` if ``seen`` is None."""
    known = tested.items >= 0
    wanted = ItemLists.of(tested.users, tested.items, len(rows))
    places = np.full(len(known), MISSED)
    if seen is None:
        places[known], sizes = sampled_ranks(rows, items, wanted, candidates, ties)
    else:
        places[known] = apart(wanted.indptr, ranks(rows, items, wanted, excluded=seen, ties=ties), ties)
        sizes = len(items) - np.diff(seen.indptr)
    indptr = np.searchsorted(tested.users, np.arange(len(rows) + 1))
    return Placed(indptr.astype(np.int64), places, ratings, sizes)


def _judged_by_popularity(shown: Int32Array, catalogue: Catalogue) -> Lists:
    counts, popularity = catalogue.counts, catalogue.popularity
    if counts is None or popularity is None:  # only coverage is asked for, which needs neither
        nothing = np.zeros(len(catalogue.items))
        return Lists(shown, nothing, nothing.astype(np.bool_))
    return Lists(shown, popularity.surprise(counts[:, 0]), popularity.tail(counts[:, 0]))


def _lists(pairs: Pairs, users: Int64Array) -> ItemLists:
    """The items of each of some users."""
    kept = pairs.where(np.isin(pairs.users, users))
    return ItemLists.of(np.searchsorted(users, kept.users), kept.items, len(users))


def _pairs(lists: ItemLists) -> Pairs:
    return Pairs(lists.queries(), lists.positions)
