"""A search: what a trial is judged by is what the other jobs give for the same settings."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wals_spark
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.settings.tune import TuneSettings
from wals_spark.spark.tune import run_tune

pytestmark = pytest.mark.slow

FIXED = {"train.rank": 8, "train.max_iter": 2, "train.start": "normal"}
SPACE = {"tune.space": {"train": {"reg_param": {"low": 0.01, "high": 0.1}}}, "tune.trials": 1}
RANKED = {"metrics": ["ndcg", "recall"], "k": [5, 20]}


@pytest.fixture(scope="module")
def parts():
    """Interactions of users in training, and of others who are folded in, each with a part held out."""
    users, items, ratings = synthetic_ratings(3000, users=120, items=60, tastes=4, seed=1)
    table = pa.table({"user": [f"u{user}" for user in users], "item": items, "rating": ratings})
    is_new, is_held_out = users % 4 == 0, np.random.default_rng(0).random(len(users)) < 0.3
    masks = {
        "train": ~is_new & ~is_held_out,
        "validation": ~is_new & is_held_out & (items % 2 == 0),
        "final": ~is_new & is_held_out & (items % 2 == 1),
        "candidates": ~is_new & (items % 3 == 0),
        "fold_in": is_new & ~is_held_out,
        "test": is_new & is_held_out,
    }
    return {name: table.filter(pa.array(mask)) for name, mask in masks.items()}


@pytest.fixture
def paths(parts, tmp_path):
    for name, table in parts.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    return {name: str(tmp_path / f"{name}.parquet") for name in parts}


def searched(spark, folder, settings):
    run_tune(spark, TuneSettings.of({**FIXED, **SPACE, **settings, "output.path": str(folder)}))
    (trial,) = json.loads((folder / "leaderboard.json").read_text())["trials"]
    return trial


def as_trained(trial):
    return {name: value for name, value in trial["trained"].items() if name != "output.path"}


@pytest.mark.parametrize("item_weight", ["none", pytest.param("propensity", marks=pytest.mark.exhaustive)])
def test_strong_generalisation_folds_users_in_and_evaluates(spark, paths, tmp_path, item_weight):
    weights = {"confidence.item_weight": item_weight}
    tables = {"input.path": paths["train"], "fold_in.path": paths["fold_in"], "test.path": paths["test"]}
    measured = {"tune.metric": "ndcg@20", "tune.logged": ["recall@5"]}
    trial = searched(spark, tmp_path / "tuning", {**tables, **measured, **weights})

    train, fold_in, test = (spark.read.parquet(paths[name]) for name in ("train", "fold_in", "test"))
    folded_in = wals_spark.fit(train, as_trained(trial)).fold_in(fold_in)
    evaluation = folded_in.evaluate(test, fold_in, options=RANKED)
    assert trial["metrics"] == {
        "ndcg@20": pytest.approx(evaluation.value("ndcg@20"), rel=1e-5),
        "recall@5": pytest.approx(evaluation.value("recall@5"), rel=1e-5),
    }
    assert trial["value"] == trial["metrics"]["ndcg@20"]
    low, high = trial["interval"]
    assert low < trial["value"] < high
    assert trial["interval"] == pytest.approx(evaluation.interval("ndcg@20"), rel=1e-4)


@pytest.mark.parametrize("sampled", [False, True])
def test_running_trials_are_judged_as_complete_ones_are(spark, paths, tmp_path, sampled):
    tables = {"input.path": paths["train"], "test.path": paths["validation"], "train.relaxation": 1}
    if sampled:
        tables["candidates.path"] = paths["candidates"]
    steps = {"tune.prune_every": 1, "tune.pruner": "median", "train.max_iter": 2, "train.solver": "cholesky"}
    trial = searched(spark, tmp_path / "tuning", {**tables, **steps, "tune.metric": "recall@5"})
    shorter = searched(spark, tmp_path / "shorter", {**tables, **steps, "train.max_iter": 1, "tune.metric": "recall@5"})
    assert trial["intermediate_values"] == {"1": pytest.approx(shorter["value"], rel=1e-6)}


@pytest.mark.slow
def test_the_best_settings_are_trained_on_all_with_several_seeds(spark, paths, tmp_path):
    tables = {"input.path": paths["train"], "test.path": paths["validation"]}
    trial = searched(spark, tmp_path / "tuning", {**tables, "final.path": paths["final"], "tune.seeds": 2})
    final = json.loads((tmp_path / "tuning/final.json").read_text())
    seeds = final["metrics"]["ndcg@20"]["seeds"]
    assert [entry["seed"] for entry in seeds] == [0, 1]
    assert final["settings"] == trial["trained"]

    both = spark.read.parquet(paths["train"], paths["validation"])
    held_out = spark.read.parquet(paths["final"])
    for entry in seeds:
        model = wals_spark.fit(both, {**as_trained(trial), "train.seed": entry["seed"]})
        evaluation = model.evaluate(held_out, both, options=RANKED)
        assert entry["value"] == pytest.approx(evaluation.value("ndcg@20"), rel=1e-5)
    assert final["metrics"]["ndcg@20"]["mean"] == pytest.approx(np.mean([entry["value"] for entry in seeds]))
    assert not (tmp_path / "tuning/_work").exists()
