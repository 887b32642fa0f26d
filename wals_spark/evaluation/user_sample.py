"""A sample of users, small enough for the driver: their best items by block of items, and the metrics of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wals_spark.arrays.types import Float32Array, Int64Array
from wals_spark.evaluation.metrics import UNRANKED, HeldOutRanks, Measures, user_fractions
from wals_spark.evaluation.user_batch import Pairs
from wals_spark.ranking.top_k import ItemLists, TopK, top_k


@dataclass(frozen=True)
class UserSample:
    """The held-out items of some users, at least one each and none of them seen, and the items that they have seen.

    Pairs are in the order of users. Items are numbered block by block: those of block b are ``first_items[b]`` to
    ``first_items[b + 1]``. A held-out item that is in no block is -1.
    """

    n_users: int
    held_out: Pairs
    seen: Pairs
    first_items: Int64Array

    def best_of_block(self, block: int, users: Float32Array, items: Float32Array, k: int) -> TopK:
        """The ``k`` best items of a block that each user has not seen.

        ``users`` has shape (n_users, width), ``items`` (rows of the block, width).
        """
        first, end = self.first_items[block : block + 2]
        inside = self.seen.where((self.seen.items >= first) & (self.seen.items < end))
        best = top_k(users, items, k, excluded=ItemLists.of(inside.users, inside.items - first, self.n_users))
        return TopK(np.where(best.positions < 0, -1, best.positions + first).astype(np.int32), best.scores)

    def metrics(self, best: Sequence[TopK], measures: Measures) -> dict[str, float]:
        """The mean of each metric over the users, from the best items of all blocks; metrics at k alone.

        Of two items with equal scores the one of the smaller number ranks first.
        """
        positions = np.hstack([part.positions for part in best])  # (n_users, n_blocks * k)
        scores = np.hstack([part.scores for part in best])
        order = np.lexsort((positions, -scores), axis=1)[:, : max(measures.ks)]
        ranked = np.take_along_axis(positions, order, axis=1)
        users = np.repeat(np.arange(self.n_users), ranked.shape[1])
        places = np.tile(np.arange(ranked.shape[1]), self.n_users)
        listed = Pairs(users, ranked.ravel())
        place_of_pair = dict(zip(listed.keys.tolist(), places.tolist(), strict=True))
        place_of_pair.pop(-1, None)  # the key of no item
        held_out = self.held_out
        keys = np.where(held_out.items >= 0, held_out.keys, -1).tolist()
        ranks = np.array([place_of_pair.get(key, UNRANKED) for key in keys], dtype=np.int64)
        indptr = np.searchsorted(held_out.users, np.arange(self.n_users + 1)).astype(np.int64)
        unused = np.zeros(self.n_users, dtype=np.int64)  # the number of candidates: of the percentile rank alone
        of_users, _ = user_fractions(HeldOutRanks(indptr, ranks, np.ones(len(ranks)), unused), None, measures)
        return dict(zip(map(str, measures.columns), of_users.mean(axis=0).tolist(), strict=True))
