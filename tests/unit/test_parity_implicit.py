"""The library `implicit` itself, beside us: the same rows from the same fixed factors."""

from __future__ import annotations

import numpy as np
import pytest
from objectives import objectives_of
from scipy.sparse import csr_matrix

from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.half_iteration import half_iteration, start_side
from wals_spark.settings.train import load_config
from wals_spark.solvers.start import Start

implicit_als = pytest.importorskip("implicit.als")


@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")
def test_one_half_iteration_equals_implicits():
    rng = np.random.default_rng(6)
    users, items = np.nonzero(rng.random((50, 30)) < 0.25)
    ratings = rng.integers(1, 6, size=len(users)).astype(np.float64)
    config = load_config(
        None,
        ["input.path=a", "output.path=b", "train.preset=implicit", "confidence.alpha=3", "train.reg_param=0.5"],
    )
    objective = objectives_of(config, users=50, items=30)["users"]
    user_side, item_side, _ = build_blocks(Interactions(users, items, ratings))
    start_side(item_side, objective, Start(8, seed=0, scale=1.0, positive=False))
    half_iteration(user_side, item_side, objective)

    theirs = implicit_als.AlternatingLeastSquares(
        factors=8, alpha=3.0, regularization=0.5, use_cg=False, use_gpu=False, iterations=1, num_threads=1
    )
    matrix = csr_matrix((ratings, (users, items)), shape=(50, 30), dtype=np.float32)
    theirs.fit(matrix, show_progress=False)
    theirs.item_factors = np.stack([item_side.by_id()[i] for i in range(30)])
    theirs._YtY = None  # it keeps the Gramian of the factors it has replaced
    rows = theirs.recalculate_user(np.arange(50), matrix)
    ours = np.stack([user_side.by_id()[u] for u in range(50)])
    np.testing.assert_allclose(ours, rows, rtol=1e-3, atol=1e-3 * np.abs(rows).max())
