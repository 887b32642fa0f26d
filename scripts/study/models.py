"""Models of the study, trained without Spark, and the metrics by which they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from study.data_sets import Part
from wals_spark.arrays.types import Float32Array
from wals_spark.evaluation.metrics import Measures
from wals_spark.evaluation.user_batch import Catalogue, Pairs, Protocol, UserBatch, evaluate_batch
from wals_spark.local.blocks import Interactions
from wals_spark.local.training import LocalModel, fit
from wals_spark.objective.automatic import RULES, Rules
from wals_spark.settings.resolved import ResolvedConfig, resolved
from wals_spark.settings.train import Config

_NDCG = Protocol(Measures(("ndcg",), (20,), "test", "capped"), ties="against", replicates=0, sampled=False)


class Ndcg(NamedTuple):
    """NDCG@20 over all items that a user does not have in training, the mean over users, of a model and popularity."""

    model: float
    popularity: float


def settings_for(part: Part, settings: Mapping[str, Any], rules: Rules = RULES) -> ResolvedConfig:
    """The settings with the numbers that the rules choose for the interactions."""
    return resolved(Config.of(settings), part.counts, rules)


def ndcg(part: Part, test: Part, config: Config) -> Ndcg:
    """Train and evaluate; users who are not in training are left out, and unknown items are misses."""
    return judged(fit(part.interactions, config), part, test)


def judged(model: LocalModel, part: Part, test: Part) -> Ndcg:
    """The same for a model that is trained on a part."""
    interactions, held_out = part.interactions, test.interactions
    user_ids, item_ids, seen = numbered(interactions)
    known = np.isin(held_out.users, user_ids)
    tested = Interactions(*(np.asarray(column)[known] for column in held_out[:3]))
    batch = UserBatch(
        bootstrap_keys=np.arange(len(user_ids), dtype=np.uint64),
        factors=rows_of(model.users, user_ids),
        held_out=_pairs(tested, user_ids, item_ids),
        ratings=np.asarray(tested.ratings),
        seen=seen,
        candidates=Pairs(np.empty(0, np.int64), np.empty(0, np.int32)),
    )
    counts = np.bincount(seen.items)[:, None].astype(np.float32)
    sums = evaluate_batch(batch, Catalogue(rows_of(model.items, item_ids), counts, None), _NDCG).sums
    return Ndcg(*(float(value) for value in sums.numerators[0] / sums.denominators[0]))


def numbered(interactions: Interactions) -> tuple[Any, Any, Pairs]:
    """The ids of users and of items, ascending, and the pairs by their places there."""
    user_ids, item_ids = (np.unique(np.asarray(ids)) for ids in (interactions.users, interactions.items))
    return user_ids, item_ids, _pairs(interactions, user_ids, item_ids)


def rmse(part: Part, test: Part, config: ResolvedConfig) -> float:
    """Of predicted ratings, over the held-out pairs whose user and item are in training."""
    interactions, held_out = part.interactions, test.interactions
    model = fit(interactions, config)
    mean = float(np.mean(interactions.ratings)) if config.train.global_mean else 0.0
    pairs = zip(held_out.users, held_out.items, held_out.ratings, strict=True)
    errors = [
        rating - mean - float(model.users[user] @ model.items[item])
        for user, item, rating in pairs
        if user in model.users and item in model.items
    ]
    return float(np.sqrt(np.mean(np.square(errors))))


def _pairs(interactions: Interactions, user_ids: Any, item_ids: Any) -> Pairs:
    """Rows of users and of items; -1 for an item that is not among ``item_ids``."""
    items = np.searchsorted(item_ids, interactions.items).clip(max=len(item_ids) - 1)
    items[item_ids[items] != interactions.items] = -1
    return Pairs(np.searchsorted(user_ids, interactions.users), items.astype(np.int32))


def rows_of(factors: Mapping[Any, Float32Array], ids: Any) -> Float32Array:
    """The factors of some ids, shape (n_ids, width)."""
    return np.stack([factors[key] for key in ids.tolist()])
