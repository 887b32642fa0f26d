"""pyspark.ml.recommendation.ALS itself, beside us: its user factors are the exact solve of its last item factors."""

from __future__ import annotations

import numpy as np
import pytest
from objectives import objectives_of
from pyspark.ml.recommendation import ALS

from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.half_iteration import half_iteration, set_factors
from wals_spark.settings.train import load_config


@pytest.mark.parametrize("implicit", [True, False])
def test_one_half_iteration_equals_mllibs(spark, implicit):
    rng = np.random.default_rng(5)
    users, items = np.nonzero(rng.random((60, 30)) < 0.25)
    ratings = rng.integers(1, 6, size=len(users)).astype(np.float64)
    if implicit:
        ratings[rng.random(len(ratings)) < 0.1] *= -1
    rows = zip(users.tolist(), items.tolist(), ratings.tolist(), strict=True)
    table = spark.createDataFrame(list(rows), "user int, item int, rating float")
    als = ALS(
        rank=6, maxIter=3, regParam=0.3, implicitPrefs=implicit, alpha=2.0, numUserBlocks=2, numItemBlocks=2, seed=1
    )
    theirs = als.fit(table)
    their_users, their_items = (
        {row["id"]: np.array(row["features"], dtype=np.float32) for row in factors.collect()}
        for factors in (theirs.userFactors, theirs.itemFactors)
    )

    preset = ["train.preset=mllib", "confidence.alpha=2"] if implicit else ["train.preset=mllib-explicit"]
    config = load_config(None, ["input.path=a", "output.path=b", "train.reg_param=0.3", *preset])
    objective = objectives_of(config, users=len(their_users), items=len(their_items))["users"]
    user_side, item_side, _ = build_blocks(Interactions(users, items, ratings))
    set_factors(item_side, [np.stack([their_items[i] for i in item_side.ids[0].to_pylist()])], objective)
    half_iteration(user_side, item_side, objective)

    ours = user_side.by_id()
    scale = np.abs(list(their_users.values())).max()
    for user, row in their_users.items():
        np.testing.assert_allclose(ours[user], row, rtol=1e-3, atol=1e-3 * scale)
