"""A small problem that tests train on Spark: its interactions, objective and settings, and factors by id."""

from __future__ import annotations

import numpy as np
from objectives import make_confidence, make_objective, train_settings
from spark_blocks import blocks_of

from wals_spark.blocks.encoding import group_records, join, join_ids
from wals_spark.spark.training.rdd import zip_partitions
from wals_spark.spark.training.recovery import train
from wals_spark.spark.training.state import Listeners

RNG = np.random.default_rng(1)
N_USERS, N_ITEMS = 60, 25
OBSERVED = RNG.random((N_USERS, N_ITEMS)) < 0.2
OBSERVED[np.arange(N_USERS), RNG.integers(N_ITEMS, size=N_USERS)] = True  # every user has an item
OBSERVED[:, 3] = True  # and one item everyone has
USERS, ITEMS = np.nonzero(OBSERVED)
RATINGS = RNG.integers(1, 20, size=len(USERS)).astype(np.float64)
OBJECTIVE = make_objective(make_confidence("log", 10.0, 1.0), reg_param=2.0)
SETTINGS = train_settings(rank=6, max_iter=3, user_blocks=3, item_blocks=2, solver="cholesky")


def interactions(spark):
    rows = zip(USERS.tolist(), ITEMS.tolist(), RATINGS.tolist(), strict=True)
    return spark.createDataFrame(list(rows), "user long, item int, rating double")


def counts_of(settings):
    """The numbers of blocks that training asks for."""
    return {f"train.{name}": getattr(settings, name) for name in ("user_blocks", "item_blocks")}


def trained_on(path, table, settings=SETTINGS, objective=OBJECTIVE, report=lambda events: None):
    """Factors by id of both sides, and the events."""
    blocks = blocks_of(table, path, counts_of(settings))
    objectives = {"users": objective, "items": objective}
    trained = train(blocks, objectives, settings, Listeners(on_half_iteration=report))
    factors = [
        by_id(side, factors, settings.rank)
        for side, factors in ((blocks.users, trained.user_factors), (blocks.items, trained.item_factors))
    ]
    trained.unpersist()
    return (*factors, trained)


def by_id(side, factors, rank):
    rows_by_id = {}
    for block in zip_partitions(side.records("ids"), factors).glom().collect():
        records = group_records(record for _, record in block)
        ids = join_ids(records.get("ids", {}).get(0, ())).to_pylist()
        rows = join(records.get("factors", {}).get(0, ()), np.float32).reshape(-1, rank)
        rows_by_id.update(zip(ids, rows, strict=True))
    return rows_by_id


def matrix(factors):
    return np.stack([factors[i] for i in sorted(factors)])
