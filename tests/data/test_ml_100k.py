"""Explicit ratings: plain ALS-WR on the official folds of MovieLens 100k."""

from __future__ import annotations

import numpy as np
import pytest

from wals_spark.local.training import train as train_here
from wals_spark.settings.train import load_config

PRESET = ("train.preset=mllib-explicit", "train.rank=10", "train.max_iter=15", "train.reg_param=0.1")


def fold(data, number, part):
    lines = (data / f"ml-100k/u{number}.{part}").read_text().splitlines()
    users, items, ratings, _ = zip(*(line.split("\t") for line in lines), strict=True)
    return users, items, np.array(ratings, dtype=np.float64)


def rmse(test, users, items, mean=0.0):
    """Over the rows whose user and item were trained on."""
    known = [(r, users[u], items[i]) for u, i, r in zip(*test, strict=True) if u in users and i in items]
    return float(np.sqrt(np.mean([(r - mean - x @ y) ** 2 for r, x, y in known])))


def trained_without_spark(users, items, ratings, *settings):
    """The job's own functions in one process."""
    config = load_config(None, ["input.path=a", "output.path=b", *PRESET, *settings])
    return train_here(config, users, items, ratings, max_iter=15)


def mean_rmse(data, *settings, mean=False):
    """Over the five folds; with ``mean``, that of the training ratings is added to each score."""
    errors = []
    for number in range(1, 6):
        base = fold(data, number, "base")
        factors = trained_without_spark(*base, *settings)
        errors.append(rmse(fold(data, number, "test"), *factors, base[2].mean() if mean else 0.0))
    print(f"{settings}: RMSE {np.mean(errors):.4f}, by fold {[round(error, 4) for error in errors]}")
    return np.mean(errors)


def test_the_mean_rmse_of_the_five_folds_is_the_known_one_and_lower_with_biases(data):
    plain = mean_rmse(data)
    assert plain == pytest.approx(0.9224, abs=0.004)
    assert mean_rmse(data, "train.biases=true") < plain


def test_with_the_global_mean_too_it_is_lower_where_lambda_fits(data):
    """Centred ratings want more of it: at 0.1, where plain factors are known, they are not lower."""
    settings = ("train.reg_param=0.12", "train.biases=true", "train.global_mean=true")
    assert mean_rmse(data, *settings, mean=True) < mean_rmse(data, "train.reg_param=0.12")


@pytest.mark.slow
def test_the_job_finds_what_its_functions_find(data, train):
    source = ("input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=_c2")
    _, users, items = train(*source, *PRESET, f"input.path={data}/ml-100k/u1.base")
    here = rmse(fold(data, 1, "test"), *trained_without_spark(*fold(data, 1, "base")))
    assert rmse(fold(data, 1, "test"), users, items) == pytest.approx(here, abs=1e-3)
