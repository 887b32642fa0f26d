"""Every job on executors whose Python has NumPy, PyArrow and Numba alone: what runs there may import nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_lines import HEAVY_ROWS_OF_ITEMS

JOBS = Path(__file__).resolve().parents[2] / "jobs"
K, STRANGER = 5, "never heard of"
TRAINING = ["input.path=parts/train", "train.rank=6", "train.max_iter=3", "train.user_blocks=3", "train.item_blocks=2"]
TEST = ["model.path=model", "input.path=parts/train", "test.path=parts/test", "evaluate.k=5"]
RECOMMEND = ["model.path=model", "input.path=parts/train", f"recommend.k={K}"]
NIGHT = [
    "input.timestamp=at", "output.path=nights", "train.rank=6", "train.user_blocks=3", "train.item_blocks=2",
    "split.days=9", "data.max_age_hours=0", "data.min_lift=0", "gate.popularity=false", "gate.relative=0.9",
    "gate.min_users=20",
]  # fmt: skip
RUNS = {
    "split": ["input.path=plays", "split.by=random", "output.path=parts"],
    "train": [*TRAINING, "output.path=model", "output.version=v1"],
    "train heavy and weighted rows": [
        *TRAINING, "input.path=plays", "input.weight=trust", "train.heavy_row_threshold=60", "train.biases=true",
        "confidence.item_weight=propensity", "output.path=heavy", "output.version=v1",
    ],
    "evaluate": [*TEST, "output.path=evaluated"],
    "evaluate candidates": [*TEST, "candidates.path=candidates", "output.path=candidates-evaluated"],
    "tune": [
        *TRAINING, "train.solver=cholesky", "test.path=parts/test", "tune.trials=2", "tune.metric=recall@5",
        "tune.space.train.reg_param.low=0.1", "tune.space.train.reg_param.high=10", "output.path=tuned",
    ],
    "recommend": [
        *RECOMMEND, "queries.path=queries", "recommend.because=2", "recommend.cold_start=popular", "output.path=best",
    ],
    "recommend similar-items": [*RECOMMEND, "recommend.mode=similar-items", "output.path=similar"],
    "fold_in": [
        "model.path=heavy", "input.path=plays", "input.weight=trust", "fold_in.keep_users=true",
        "output.version=folded",
    ],
    "predict": ["model.path=model", "pairs.path=parts/test", "output.path=predicted"],
    "export": ["model.path=model", "export.sample=20", "output.path=exported"],
}  # fmt: skip
NIGHTS = {
    "retrain": [*NIGHT, "input.path=before", "run.id=first"],
    "retrain from the first": [*NIGHT, "input.path=plays", "run.id=second"],
    "forget": ["model.path=nights", "forget.path=erased"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(cluster):
    """All jobs of `RUNS` have run here."""
    return run_in_turn(cluster, RUNS)


@pytest.fixture(scope="module")
def nights(cluster):
    """All jobs of `NIGHTS` have run here."""
    return run_in_turn(cluster, NIGHTS)


def run_in_turn(cluster, runs):
    """Run jobs under one driver; the folder has each one's exit code in codes.json, its output in NAME.log."""
    folder = cluster.folder
    write_tables(folder)
    listed = [[name, str(JOBS / f"{name.split()[0]}.py"), *settings] for name, settings in runs.items()]
    (folder / "runs.json").write_text(json.dumps(listed))
    modules = [
        "numpy",
        "pyarrow",
        "numba",
        "wals_spark",
        "msgspec",
        "pandas",
        "scipy",
        "threadpoolctl",
        "rich",
        "optuna",
    ]
    code, log = cluster.finish(cluster.submit(Path(__file__).parent / "jobs_in_turn.py", "runs.json", *modules))
    assert code == 0, log
    return folder


def write_tables(folder):
    """Plays of 200 users and 60 items, one of which nearly everyone has; candidates for a test; whom to serve."""
    rng = np.random.default_rng(3)
    users, items = np.nonzero(rng.random((200, 60)) < np.r_[0.9, np.full(59, 0.15)])
    names = [f"user {u}" for u in users]
    plays = {"rating": rng.integers(1, 30, len(users)).astype(float), "trust": rng.choice([0.5, 1.0], len(users))}
    at = 1.77e9 + 86400.0 * rng.uniform(0.0, 30.0, len(users))
    table = pa.table({"user": names, "item": items, "at": at, **plays})
    pq.write_table(table, folder / "plays")
    pq.write_table(table.filter(at < 1.77e9 + 86400.0 * 28.0), folder / "before")
    everyone = sorted(set(names))
    candidates = {"user": np.repeat(everyone, 30), "item": np.tile(np.arange(30), len(everyone))}
    pq.write_table(pa.table(candidates), folder / "candidates")
    pq.write_table(pa.table({"id": [*everyone[:20], STRANGER]}), folder / "queries")
    pq.write_table(pa.table({"id": everyone[:2]}), folder / "erased")


def read(path):
    return pq.read_table(path).to_pylist()


def recall_of(folder):
    """The recall of the model and of popularity."""
    recall = next(m for m in json.loads((folder / "metrics.json").read_text())["metrics"] if m["name"] == "recall")
    return recall["model"], recall["popularity"]


def test_executors_have_only_numpy_pyarrow_and_numba(folder, executor_python):
    python = str(executor_python.parents[1])
    executors = json.loads((folder / "codes.json").read_text())["executors"]
    assert executors == [[python, ["numpy", "pyarrow", "numba", "wals_spark"]]]


@pytest.mark.parametrize("name", list(RUNS))
def test_the_job_runs(folder, name):
    assert json.loads((folder / "codes.json").read_text())[name] == 0, (folder / f"{name}.log").read_text()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", list(NIGHTS))
def test_the_job_of_a_night_runs(nights, name):
    assert json.loads((nights / "codes.json").read_text())[name] == 0, (nights / f"{name}.log").read_text()


def test_split_and_train_account_for_every_row(folder):
    parts = {name: read(folder / "parts" / name) for name in ("train", "test")}
    assert len(parts["train"]) + len(parts["test"]) == len(read(folder / "plays"))
    for root, source in (("model", "parts/train"), ("heavy", "plays")):
        for column in ("user", "item"):
            ids = {row["id"] for row in read(folder / root / "versions" / "v1" / f"{column}_factors")}
            assert ids == {row[column] for row in read(folder / source)}
    assert HEAVY_ROWS_OF_ITEMS in (folder / "train heavy and weighted rows.log").read_text()


def test_evaluations_with_candidates_and_without_differ(folder):
    for name in ("evaluated", "candidates-evaluated"):
        model, popularity = recall_of(folder / name)
        assert 0 < model < 1
        assert 0 < popularity < 1
    assert recall_of(folder / "evaluated") != recall_of(folder / "candidates-evaluated")


def test_every_trial_of_the_search_is_complete(folder):
    trials = json.loads((folder / "tuned/leaderboard.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 2, trials


def test_recommendations_have_explanations_or_are_popular(folder):
    rows = read(folder / "best")
    assert len(rows) == 21 * K
    for row in rows:
        assert row["source"] == ("popular" if row["user"] == STRANGER else "model")
        assert (row["because"] is None) == (row["user"] == STRANGER)
        assert len(row["because"] or "..") == 2
    assert len(read(folder / "similar")) == 60 * K


@pytest.mark.exhaustive
def test_a_night_starts_from_the_one_before_and_is_aligned(nights):
    assert (nights / "nights/CURRENT").read_text() == "second-erased1\n"
    manifest = json.loads((nights / "nights/versions/second-erased1/manifest.json").read_text())
    assert manifest["warm_start"]["version"] == manifest["aligned_with"] == manifest["drift"]["served"] == "first"
    assert manifest["warm_start"]["items"] == {"kept": 60, "new": 0, "gone": 0}
    assert len(read(nights / "nights/versions/second-erased1/user_factors")) == manifest["counts"]["users"] == 198


def test_a_folded_in_version_has_every_user(folder):
    assert (folder / "heavy/CURRENT").read_text() == "folded\n"
    assert len(read(folder / "heavy/versions/folded/user_factors")) == 200


def test_every_pair_is_predicted(folder):
    rows, pairs = read(folder / "predicted"), read(folder / "parts/test")
    assert sorted((row["user"], row["item"]) for row in rows) == sorted((row["user"], row["item"]) for row in pairs)
    assert sum(row["prediction"] == row["prediction"] for row in rows) > len(rows) / 2  # not NaN


def test_an_export_has_every_item(folder):
    assert len(np.load(folder / "exported/items.npy")) == 60
