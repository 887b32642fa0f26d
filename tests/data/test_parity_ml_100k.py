"""Peers on MovieLens 100k: after 15 iterations the loss of wals_spark, by their formula, is theirs or lower."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from objectives import objectives_of
from pyspark.ml.recommendation import ALS
from scipy.sparse import csr_matrix

from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.half_iteration import half_iteration, set_factors
from wals_spark.local.training import fit
from wals_spark.settings.train import Config
from wals_spark.spark.session import open_session

RANK, ITERATIONS, ALPHA = 16, 15, 4.0


@pytest.fixture(scope="module")
def ratings(data):
    """Users and items from 0, and ratings."""
    table = np.loadtxt(data / "ml-100k/u.data", dtype=np.int64)
    return table[:, 0] - 1, table[:, 1] - 1, table[:, 2].astype(np.float64)


def of_mllib(ratings, reg_param, tmp_path):
    with open_session("parity", local_master="local[2]") as spark:
        rows = list(zip(*(column.tolist() for column in ratings), strict=True))
        table = spark.createDataFrame(rows, "user int, item int, rating float")
        als = ALS(rank=RANK, maxIter=ITERATIONS, regParam=reg_param, implicitPrefs=True, alpha=ALPHA, seed=0)
        fitted = als.fit(table)
        return [
            np.array([row["features"] for row in factors.orderBy("id").collect()])
            for factors in (fitted.userFactors, fitted.itemFactors)
        ]


def of_implicit(ratings, reg_param, tmp_path):
    implicit_als = pytest.importorskip("implicit.als")
    users, items, r = ratings
    options = {"factors": RANK, "alpha": ALPHA, "regularization": reg_param, "iterations": ITERATIONS}
    fitted = implicit_als.AlternatingLeastSquares(**options, use_cg=False, use_gpu=False, random_state=0)
    fitted.fit(csr_matrix((r, (users, items)), dtype=np.float32), show_progress=False)
    return [fitted.user_factors, fitted.item_factors]


def of_lenskit(ratings, reg_param, tmp_path):
    python = os.environ.get("WALS_LENSKIT_PYTHON", "")
    if not Path(python).is_file():
        pytest.skip("LensKit: scripts/test --all makes .venv-lenskit for it, with Python 3.10 or 3.11")
    np.savez(tmp_path / "pairs.npz", users=ratings[0], items=ratings[1])
    arguments = [tmp_path / "pairs.npz", tmp_path / "factors.npz", RANK, ITERATIONS, ALPHA, reg_param]
    script = Path(__file__).with_name("lenskit_als.py")
    done = subprocess.run(
        [python, script, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "factors.npz") as file:
        return [file[f"{side}_factors"][np.argsort(file[f"{side}s"])] for side in ("user", "item")]


# The system, its λ, and its confidences and diagonal by its own formula.
PEERS = {
    "mllib": (of_mllib, 0.1, lambda r: 1 + ALPHA * r, lambda counts: counts),
    "implicit": (of_implicit, 5.0, lambda r: ALPHA * r, np.ones_like),
    "lenskit": (of_lenskit, 5.0, lambda r: np.full(len(r), 1 + ALPHA), np.ones_like),
}


def loss_of(peer, ratings, x, y):
    """Σ_all c (p − ŷ)² + Σ Λ |x|², with p and c as the peer has them."""
    users, items, r = ratings
    _, reg_param, confidence, diagonal = PEERS[peer]
    x, y = x.astype(np.float64), y.astype(np.float64)
    scores = np.einsum("pf,pf->p", x[users], y[items])
    unobserved = np.vdot(x.T @ x, y.T @ y) - (scores**2).sum()
    norms = [diagonal(np.bincount(ids)) @ (rows**2).sum(axis=1) for ids, rows in ((users, x), (items, y))]
    return (confidence(r) * (1 - scores) ** 2).sum() + unobserved + reg_param * sum(norms)


def config_of(peer):
    settings = {"train.preset": peer, "confidence.alpha": ALPHA, "train.reg_param": PEERS[peer][1]}
    return Config.of({"train.rank": RANK, "train.max_iter": ITERATIONS, **settings})


@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")
@pytest.mark.parametrize("peer", PEERS)
def test_the_loss_after_15_iterations_is_the_peers_or_lower(peer, ratings, tmp_path):
    theirs = loss_of(peer, ratings, *PEERS[peer][0](ratings, PEERS[peer][1], tmp_path))
    model = fit(Interactions(*ratings), config_of(peer), user_blocks=2, item_blocks=2)
    x, y = (np.stack([side[i] for i in sorted(side)]) for side in (model.users, model.items))
    ours = loss_of(peer, ratings, x, y)
    print(f"{peer} {theirs:,.1f}, wals_spark {ours:,.1f} ({ours / theirs - 1:+.3%})")
    assert ours <= 1.001 * theirs


def test_lenskits_items_are_the_exact_solve_of_its_users(ratings, tmp_path):
    x, y = of_lenskit(ratings, PEERS["lenskit"][1], tmp_path)
    user_side, item_side, _ = build_blocks(Interactions(*ratings))
    objectives = objectives_of(config_of("lenskit"), users=len(x), items=len(y))
    set_factors(user_side, [x[user_side.ids[0].to_pylist()].astype(np.float32)], objectives["users"])
    half_iteration(item_side, user_side, objectives["items"])
    ours = np.stack([item_side.by_id()[i] for i in range(len(y))])
    np.testing.assert_allclose(ours, y, rtol=1e-3, atol=1e-3 * np.abs(y).max())
