"""Explicit ratings: plain ALS-WR on the official folds of MovieLens 100k."""

from __future__ import annotations

import numpy as np
import pytest
from local_training import half_iteration, lay_out, start

from wals_spark.config import load_config

PRESET = ("train.preset=mllib-explicit", "train.rank=10", "train.max_iter=15", "train.reg_param=0.1")


def fold(data, number, part):
    lines = (data / f"ml-100k/u{number}.{part}").read_text().splitlines()
    users, items, ratings, _ = zip(*(line.split("\t") for line in lines), strict=True)
    return users, items, np.array(ratings, dtype=np.float64)


def rmse(test, users, items):
    """Over the rows whose user and item were trained on."""
    known = [(r, users[u], items[i]) for u, i, r in zip(*test, strict=True) if u in users and i in items]
    return float(np.sqrt(np.mean([(r - x @ y) ** 2 for r, x, y in known])))


def trained_without_spark(users, items, ratings):
    """The job's own functions in one process."""
    objectives = load_config(None, ["input.path=a", "output.path=b", *PRESET]).objectives(users=0, items=0)
    user_side, item_side, _ = lay_out(users, items, ratings)
    start(user_side, "users", objectives["users"], rank=10)
    for _ in range(15):
        half_iteration(item_side, user_side, objectives["items"], 10)
        half_iteration(user_side, item_side, objectives["users"], 10)
    return user_side.by_id(), item_side.by_id()


def test_the_mean_rmse_of_the_five_folds_is_the_known_one(data):
    errors = [rmse(fold(data, n, "test"), *trained_without_spark(*fold(data, n, "base"))) for n in range(1, 6)]
    print(f"RMSE {np.mean(errors):.4f}, by fold {[round(error, 4) for error in errors]}")
    assert np.mean(errors) == pytest.approx(0.9224, abs=0.004)


def test_the_job_finds_what_its_functions_find(data, train):
    source = ("input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=_c2")
    _, users, items = train(*source, *PRESET, f"input.path={data}/ml-100k/u1.base")
    here = rmse(fold(data, 1, "test"), *trained_without_spark(*fold(data, 1, "base")))
    assert rmse(fold(data, 1, "test"), users, items) == pytest.approx(here, abs=1e-3)
