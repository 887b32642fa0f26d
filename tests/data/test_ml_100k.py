"""Explicit ratings: plain ALS-WR on the official folds of MovieLens 100k."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_models import factors_of

from wals_spark.local.blocks import Interactions
from wals_spark.local.training import fit
from wals_spark.settings.train import Config

PRESET = {"train.preset": "mllib-explicit", "train.rank": 10, "train.max_iter": 15, "train.reg_param": 0.1}


def fold(data, number, part):
    lines = (data / f"ml-100k/u{number}.{part}").read_text().splitlines()
    users, items, ratings, _ = zip(*(line.split("\t") for line in lines), strict=True)
    return users, items, np.array(ratings, dtype=np.float64)


def rmse(test, users, items, mean=0.0):
    """Over the rows whose user and item were trained on."""
    known = [(r, users[u], items[i]) for u, i, r in zip(*test, strict=True) if u in users and i in items]
    return float(np.sqrt(np.mean([(r - mean - x @ y) ** 2 for r, x, y in known])))


def train_without_spark(ratings, settings=None):
    """Factors by id, from the functions that a job runs, in one process."""
    model = fit(Interactions(*ratings), Config.of({**PRESET, **(settings or {})}), user_blocks=2, item_blocks=2)
    return model.users, model.items


def mean_rmse(data, settings=None, *, mean=False):
    """Over the five folds; with ``mean``, that of the training ratings is added to each score."""
    errors = []
    for number in range(1, 6):
        base = fold(data, number, "base")
        factors = train_without_spark(base, settings)
        errors.append(rmse(fold(data, number, "test"), *factors, base[2].mean() if mean else 0.0))
    print(f"{settings}: RMSE {np.mean(errors):.4f}, by fold {[round(error, 4) for error in errors]}")
    return np.mean(errors)


def test_the_mean_rmse_is_the_known_one_and_lower_with_biases(data):
    plain = mean_rmse(data)
    assert plain == pytest.approx(0.9224, abs=0.004)
    assert mean_rmse(data, {"train.biases": True}) < plain


def test_with_the_global_mean_too_it_is_lower_where_lambda_fits(data):
    """Centred ratings need more of it: at 0.1, where the RMSE of plain factors is known, theirs is not lower."""
    settings = {"train.reg_param": 0.12, "train.biases": True, "train.global_mean": True}
    assert mean_rmse(data, settings, mean=True) < mean_rmse(data, {"train.reg_param": 0.12})


SOURCE = {"format": "csv", "options.sep": r"\t", "user": "_c0", "item": "_c1", "rating": "_c2"}


def as_settings(section, path):
    return [f"{section}.{name}={value}" for name, value in {**SOURCE, "path": path}.items()]


@pytest.mark.slow
def test_the_jobs_alone_have_the_known_rmse(data, run_job, tmp_path):
    """Training, RMSE and predictions of two folds; NumPy on the written tables, and training without Spark, agree."""
    for number in (5, 1):
        base, test = (f"{data}/ml-100k/u{number}.{part}" for part in ("base", "test"))
        preset = (f"{name}={value}" for name, value in PRESET.items())
        run_job("train", *as_settings("input", base), *preset, "output.path=model", f"output.version={number}")
        run_job("evaluate", *as_settings("test", test), "evaluate.metrics=rmse,mae", "model.path=model")
        version = tmp_path / f"model/versions/{number}"
        errors = {m["name"]: m["model"] for m in json.loads((version / "metrics.json").read_text())["metrics"]}
        sides = (factors_of(version / side) for side in ("user_factors", "item_factors"))
        by_numpy = rmse(fold(data, number, "test"), *sides)
        without_spark = rmse(fold(data, number, "test"), *train_without_spark(fold(data, number, "base")))
        assert errors["rmse"] == pytest.approx(by_numpy, rel=1e-6)
        assert errors["rmse"] == pytest.approx(without_spark, abs=1e-3)
    pairs = [setting for setting in as_settings("pairs", test) if not setting.startswith("pairs.rating=")]
    run_job("predict", *pairs, "predict.unknown=drop", "model.path=model", "output.path=predicted")
    table = pq.read_table(tmp_path / "predicted")
    difference = table["prediction"].to_numpy() - table["_c2"].to_numpy(zero_copy_only=False).astype(float)
    assert np.sqrt(np.mean(difference**2)) == pytest.approx(by_numpy, rel=1e-6)
    assert errors["mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-6)
    assert errors["rmse"] == pytest.approx(0.9328, abs=0.004)  # of u1, the last
