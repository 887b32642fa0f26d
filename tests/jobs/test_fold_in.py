from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from problems import assert_same_rows
from run_jobs import run_job

from wals_spark.serving.fold_in import FoldIn

SETTINGS = ["input.path=plays", "input.rating=plays", "input.weight=trust", "input.timestamp=at"]
MODEL = [
    "train.rank=4", "train.max_iter=3", "train.biases=true", "confidence.item_weight=propensity",
    "confidence.half_life_days=30",
]  # fmt: skip


@pytest.fixture(scope="module")
def plays():
    """Plays of integer users and text items, some of them twice, with weights and times."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=400), rng.integers(20, size=400)
    return {
        "user": users * 10**12,
        "item": [f"ü{i}" for i in items],
        "plays": rng.integers(1, 9, 400).astype(np.float64),
        "trust": rng.choice([0.5, 1.0, 2.0], 400),
        "at": 1_700_000_000 + rng.integers(90 * 86_400, size=400),
    }


@pytest.fixture(scope="module")
def trained(plays, tmp_path_factory):
    """A folder with the plays and a model trained on them, of version v1; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    pq.write_table(pa.table(plays), folder / "plays")
    done = run_job(folder, "train", *SETTINGS, *MODEL, "output.path=model", "output.version=v1")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def versions(trained, tmp_path):
    """The versions of the model in a test's own copy of the folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model/versions"


def read_rows(folder):
    table = pq.read_table(folder)
    return dict(zip(table["id"].to_pylist(), table["features"].to_pylist(), strict=True))


def read_json(version, name):
    return json.loads((version / name).read_text())


def assert_same_users(folder, other):
    actual, expected = read_rows(folder / "user_factors"), read_rows(other / "user_factors")
    assert sorted(actual) == sorted(expected)
    assert_same_rows(np.array([actual[i] for i in sorted(actual)]), np.array([expected[i] for i in sorted(actual)]))


@pytest.mark.slow
def test_a_fold_in_of_the_training_interactions_is_the_model(run_job, versions, tmp_path):
    done = run_job("fold_in", *SETTINGS, "model.path=model", "output.version=v2", "output.publish=false")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/CURRENT").read_text() == "v1\n"
    assert_same_users(versions / "v2", versions / "v1")
    for table in ("item_factors", "item_weights"):
        old, new = (sorted((versions / v / table).glob("*.parquet")) for v in ("v1", "v2"))
        assert [f.read_bytes() for f in old] == [f.read_bytes() for f in new]
    trained, folded = (read_json(versions / v, "manifest.json") for v in ("v1", "v2"))
    assert (folded["version"], folded["folded_in_from"]) == ("v2", "v1")
    assert folded["counts"] == {**trained["counts"], "rows_of_unknown_items": 0}
    assert folded["objectives"] == trained["objectives"]
    first, second = (read_json(versions / v, "gramians.json") for v in ("v1", "v2"))
    assert first["items"] == second["items"]
    np.testing.assert_allclose(first["users"], second["users"], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_users_with_new_interactions_change_and_others_stay(run_job, versions, plays, tmp_path):
    """One user has played again, one is new, and one item is."""
    newest = float(max(plays["at"]))
    rows = [(0, "ü3", 2.0), (0, "ü4", 5.0), (-7, "ü0", 1.0), (-7, "never heard of", 9.0)]
    user, item, count = zip(*rows, strict=True)
    later = {"user": user, "item": item, "plays": count, "trust": [1.0, 0.5, 1.0, 1.0], "at": [newest] * 4}
    pq.write_table(pa.table(later), tmp_path / "plays")
    done = run_job("fold_in", *SETTINGS, "model.path=model", "output.version=v3", "fold_in.keep_users=true")
    assert done.returncode == 0, done.stderr
    assert "left out 1 rows of items that the model does not know" in done.stderr
    assert (tmp_path / "model/CURRENT").read_text() == "v3\n"
    old, new = (read_rows(versions / v / "user_factors") for v in ("v1", "v3"))
    assert set(new) == {*old, -7}
    assert all(new[user] == row for user, row in old.items() if user != 0)
    alone = FoldIn.open(versions / "v3")
    indptr, items = [0, 2, 4], [i for _, i, _ in rows]
    folded = alone.fold_in_many(indptr, items, [r for *_, r in rows], later["trust"])
    assert_same_rows(folded.vectors, np.array([new[0], new[-7]]))
    assert folded.unknown.tolist() == [0, 1]
    counts = read_json(versions / "v3", "manifest.json")["counts"]
    assert (counts["users"], counts["observations"], counts["rows_of_unknown_items"]) == (len(new), 3, 1)
    assert not list(versions.glob("*/_work"))
