"""A sample of users, small enough for the driver, and a metric of what they hold out, computed by block of items.

Items are numbered block by block: those of block b are ``first_items[b]`` to ``first_items[b + 1]``; -1 is an item that
is in no block. Pairs are in the order of users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from wals_spark.arrays.types import AnyArray, BoolArray, Float32Array, Float64Array, Int64Array
from wals_spark.evaluation.metrics import LOWER_IS_BETTER, UNRANKED, HeldOutRanks, Measures, user_fractions
from wals_spark.evaluation.user_batch import Pairs, ranked_lists, ranks_of_scores
from wals_spark.ranking.top_k import ItemLists, Ties, pair_scores, top_k

Results = Mapping[int, tuple[AnyArray, ...]]
"""What the blocks of items contribute, by block."""


class UserSample(Protocol):
    """Users with held-out interactions, and what is computed of them."""

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is an error."""

    def of_block(self, block: int, users: Float32Array, items: Float32Array) -> tuple[AnyArray, ...]:
        """What a block contributes; ``users`` has shape (n_users, width), ``items`` (rows of the block, width)."""

    def metric(self, results: Results) -> float:
        """The metric, from what all blocks contribute."""


@dataclass(frozen=True)
class RankedSample:
    """The metric is of ranks, ``measures`` having one: the mean over users.

    Each user has at least one held-out item, and none of them is seen.
    """

    lower_is_better: ClassVar[bool] = False
    n_users: int
    held_out: Pairs
    seen: Pairs
    first_items: Int64Array
    measures: Measures

    def of_block(self, block: int, users: Float32Array, items: Float32Array) -> tuple[AnyArray, ...]:
        """The best items that each user has not seen: their numbers and scores, both (n_users, k)."""
        first, end = self.first_items[block : block + 2]
        inside = self.seen.where((self.seen.items >= first) & (self.seen.items < end))
        excluded = ItemLists.of(inside.users, inside.items - first, self.n_users)
        best = top_k(users, items, max(self.measures.ks), excluded=excluded)
        return np.where(best.positions < 0, -1, best.positions + first).astype(np.int32), best.scores

    def metric(self, results: Results) -> float:
        """Of two items with equal scores the one of the smaller number ranks first."""
        parts = [part for _, part in sorted(results.items())]
        positions, scores = (np.hstack(columns) for columns in zip(*parts, strict=True))  # (n_users, n_blocks * k)
        order = np.lexsort((positions, -scores), axis=1)[:, : max(self.measures.ks)]
        ranked = np.take_along_axis(positions, order, axis=1)
        users = np.repeat(np.arange(self.n_users), ranked.shape[1])
        places = np.tile(np.arange(ranked.shape[1]), self.n_users)
        place_of_pair = dict(zip(Pairs(users, ranked.ravel()).keys.tolist(), places.tolist(), strict=True))
        place_of_pair.pop(-1, None)  # the key of no item
        keys = np.where(self.held_out.items >= 0, self.held_out.keys, -1).tolist()
        ranks = np.array([place_of_pair.get(key, UNRANKED) for key in keys], dtype=np.int64)
        return _mean(self.held_out, ranks, self.n_users, self.measures)


@dataclass(frozen=True)
class CandidateSample:
    """The metric is of the ranks of held-out items among a user's held-out items and given candidates.

    Each user has at least one held-out item.
    """

    lower_is_better: ClassVar[bool] = False
    n_users: int
    held_out: Pairs
    candidates: Pairs
    first_items: Int64Array
    measures: Measures
    ties: Ties

    def of_block(self, block: int, users: Float32Array, items: Float32Array) -> tuple[AnyArray, ...]:
        """The scores of the block's items in the lists, and their places there; both (n,)."""
        lists, _ = self._lists
        return _scores_inside(
            Pairs(lists.queries(), lists.positions), self.first_items[block : block + 2], users, items
        )

    def metric(self, results: Results) -> float:
        """The mean over users."""
        lists, is_held_out = self._lists
        scores = np.empty(len(lists.positions), dtype=np.float32)
        for of_block, places in results.values():
            scores[places] = of_block
        ranks = np.full(len(self.held_out.items), UNRANKED)
        ranks[self.held_out.items >= 0] = ranks_of_scores(lists, is_held_out, scores, self.ties)
        return _mean(self.held_out, ranks, self.n_users, self.measures)

    @cached_property
    def _lists(self) -> tuple[ItemLists, BoolArray]:
        of_pairs = (ItemLists.of(pairs.users, pairs.items, self.n_users) for pairs in (self.held_out, self.candidates))
        return ranked_lists(*of_pairs)


@dataclass(frozen=True)
class RatedSample:
    """The metric, ``rmse`` or ``mae``, is of predicted ratings: over held-out rows of known users and items.

    ``ratings`` has shape (n_rows,), as the pairs have; ``offset`` is what the model adds to its scores.
    """

    held_out: Pairs
    ratings: Float64Array
    first_items: Int64Array
    offset: float
    name: str

    @property
    def lower_is_better(self) -> bool:
        """Both are errors."""
        return self.name in LOWER_IS_BETTER

    def of_block(self, block: int, users: Float32Array, items: Float32Array) -> tuple[AnyArray, ...]:
        """The sum of the errors of the block's rows, and their number; both (1,)."""
        scores, rows = _scores_inside(self.held_out, self.first_items[block : block + 2], users, items)
        errors = np.abs(scores + self.offset - self.ratings[rows])
        return np.array([(errors**2 if self.name == "rmse" else errors).sum()]), np.array([len(rows)])

    def metric(self, results: Results) -> float:
        """The mean error, or the root of the mean square."""
        errors, rows = (sum(float(part[n][0]) for part in results.values()) for n in (0, 1))
        return float(np.sqrt(errors / rows)) if self.name == "rmse" else errors / rows


def _scores_inside(
    pairs: Pairs, bounds: Int64Array, users: Float32Array, items: Float32Array
) -> tuple[Float32Array, Int64Array]:
    """The scores of the pairs whose items a block has, and their places among the pairs; both (n,)."""
    first, end = bounds
    places = np.flatnonzero((pairs.items >= first) & (pairs.items < end))
    one_each = ItemLists(np.arange(len(places) + 1), (pairs.items[places] - first).astype(np.int32))
    return pair_scores(users[pairs.users[places]], items, one_each), places


def _mean(held_out: Pairs, ranks: Int64Array, n_users: int, measures: Measures) -> float:
    """The mean over users of the one metric of ``measures``."""
    indptr = np.searchsorted(held_out.users, np.arange(n_users + 1)).astype(np.int64)
    unused = np.zeros(n_users, dtype=np.int64)  # the number of candidates: of the percentile rank alone
    of_users, _ = user_fractions(HeldOutRanks(indptr, ranks, np.ones(len(ranks)), unused), None, measures)
    return float(of_users[:, 0].mean())
