"""Compares automatic settings with and without negatives (train.negatives) on the data sets of study_defaults."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from study.data_sets import DATA_SETS, Part, Parts, sets_in, split_set
from study.models import judged, numbered, rows_of, settings_for

import wals_spark
from wals_spark.local.blocks import Interactions
from wals_spark.local.training import LocalModel, fit
from wals_spark.ranking.top_k import ItemLists, top_k
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.training import Negatives

EPILOG = """\
A model is trained on training and validation. Its best unseen items of each user, or items drawn in proportion to their
users, then are negatives in a second training with the same settings. Both are judged on the test by NDCG@20.
"""
WEIGHTS = (1.0, 3.0)
"""Of a negative, in times the weight of an unobserved pair."""


def main() -> None:
    """Print a row per set, and the mean of the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder of data sets, laid out as scripts/study/data_sets.py says")
    parser.add_argument("--sets", default=",".join(DATA_SETS), help="default: %(default)s")
    parser.add_argument("--per-user", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("build/study"), help="for parts: %(default)s")
    options = parser.parse_args()
    names = sets_in(options.data, options.sets)
    with wals_spark.open_session("study", local_master="local[2]") as spark:
        parts = [split_set(spark, name, options.data, options.work) for name in names]
    columns = [f"{source}, {weight:g}" for source in ("hard", "popular") for weight in WEIGHTS]
    print("| set | automatic | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 2) + "|")
    ratios = []
    for name, part in zip(names, parts, strict=True):
        plain, *others = study(part, options.per_user)
        ratios.append([other / plain for other in others])
        print(f"| {name} | {plain:.4f} | " + " | ".join(f"{other:.4f}" for other in others) + " |", flush=True)
    print("| mean ratio | | " + " | ".join(f"{ratio:.3f}" for ratio in np.mean(ratios, axis=0)) + " |")


def study(parts: Parts, per_user: int) -> Iterator[float]:
    """NDCG@20 without negatives, then with those of the model and with popular ones, with each weight."""
    part = parts.train_and_validation
    config = settings_for(part, {})
    model = fit(part.interactions, config)
    yield judged(model, part, parts.test).model
    for negatives in (hard_negatives(part, model, per_user), popular_negatives(part, per_user)):
        for weight in WEIGHTS:
            rows = with_negatives(part.interactions, *negatives)
            yield judged(fit(rows, with_weight(config, weight)), part, parts.test).model


def hard_negatives(part: Part, model: LocalModel, per_user: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the ``per_user`` best unseen items of each user."""
    user_ids, item_ids, seen = numbered(part.interactions)
    excluded = ItemLists.of(seen.users, seen.items, len(user_ids))
    best = top_k(rows_of(model.users, user_ids), rows_of(model.items, item_ids), per_user, excluded=excluded).positions
    users, ranks = np.nonzero(best >= 0)
    return user_ids[users], item_ids[best[users, ranks]]


def popular_negatives(part: Part, per_user: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of ``per_user`` draws per user in proportion to the items' users; seen ones are left out."""
    user_ids, item_ids, seen = numbered(part.interactions)
    users = np.repeat(np.arange(len(user_ids)), per_user)
    items = np.random.default_rng(0).choice(seen.items, len(users))
    drawn, known = (np.unique(u * len(item_ids) + i) for u, i in ((users, items), (seen.users, seen.items)))
    users, items = np.divmod(np.setdiff1d(drawn, known), len(item_ids))
    return user_ids[users], item_ids[items]


def with_negatives(interactions: Interactions, users: np.ndarray, items: np.ndarray) -> Interactions:
    """The interactions, and the pairs with a rating of 0."""
    added = (users, items, np.zeros(len(users)))
    return Interactions(*(np.concatenate(columns) for columns in zip(interactions[:3], added, strict=True)))


def with_weight(config: ResolvedConfig, times: float) -> ResolvedConfig:
    """The settings of a training whose negatives have this weight, in times that of an unobserved pair."""
    negatives = Negatives(per_user=1, weight=times * config.train.unobserved_weight, from_="popularity")
    return replace(config, train=replace(config.train, negatives=negatives))


if __name__ == "__main__":
    main()
