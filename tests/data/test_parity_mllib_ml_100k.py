"""MLlib itself on MovieLens 100k: after 15 iterations our loss, under its formula, is its own or lower."""

from __future__ import annotations

import numpy as np
import pytest
from local_training import half_iteration, lay_out, start
from pyspark.ml.recommendation import ALS

from wals_spark.config import load_config
from wals_spark.spark.session import open_session

RANK = 16


@pytest.fixture(scope="module")
def ratings(data):
    """Users and items from 0, and ratings."""
    table = np.loadtxt(data / "ml-100k/u.data", dtype=np.int64)
    return table[:, 0] - 1, table[:, 1] - 1, table[:, 2].astype(np.float64)


def our_factors(ratings, *settings):
    config = load_config(None, ["input.path=a", "output.path=b", f"train.rank={RANK}", *settings])
    n_users, n_items = ratings[0].max() + 1, ratings[1].max() + 1
    objectives = config.objectives(users=n_users, items=n_items)
    sides = dict(zip(("users", "items"), lay_out(*ratings)[:2], strict=True))
    order = ("users", "items") if config.train.first_side == "users" else ("items", "users")
    start(sides[order[1]], order[1], objectives[order[1]], rank=RANK, scale=config.train.start_scale)
    for _ in range(15):
        for solved, fixed in (order, order[::-1]):
            half_iteration(sides[solved], sides[fixed], objectives[solved], RANK)
    return [
        np.stack([side.by_id()[i] for i in range(n)])
        for side, n in zip(sides.values(), (n_users, n_items), strict=True)
    ]


def mllibs_loss(ratings, x, y, *, alpha, reg_param):
    """Σ_all c (p − ŷ)² + λ Σ n |x|², with c = 1 + αr where observed."""
    users, items, r = ratings
    x, y = x.astype(np.float64), y.astype(np.float64)
    scores = np.einsum("pf,pf->p", x[users], y[items])
    unobserved = np.vdot(x.T @ x, y.T @ y) - (scores**2).sum()
    penalty = reg_param * (np.bincount(users) @ (x**2).sum(axis=1) + np.bincount(items) @ (y**2).sum(axis=1))
    return ((1 + alpha * r) * (1 - scores) ** 2).sum() + unobserved + penalty


def test_the_loss_after_15_iterations_is_mllibs_or_lower(ratings):
    with open_session("parity", local_master="local[2]") as spark:
        rows = list(zip(*(column.tolist() for column in ratings), strict=True))
        table = spark.createDataFrame(rows, "user int, item int, rating float")
        als = ALS(rank=RANK, maxIter=15, regParam=0.1, implicitPrefs=True, alpha=2.0, seed=0)
        theirs = als.fit(table)
        their_factors = [
            np.array([row["features"] for row in factors.orderBy("id").collect()])
            for factors in (theirs.userFactors, theirs.itemFactors)
        ]
    ours = our_factors(ratings, "train.preset=mllib", "confidence.alpha=2")
    ours, theirs = (mllibs_loss(ratings, x, y, alpha=2.0, reg_param=0.1) for x, y in (ours, their_factors))
    print(f"MLlib {theirs:,.1f}, wals_spark {ours:,.1f} ({ours / theirs - 1:+.3%})")
    assert ours <= 1.001 * theirs
