from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from problems import assert_same_rows

from wals_spark.serving.fold_in import FoldIn

SETTINGS = ["input.path=plays", "input.rating=plays", "input.weight=trust", "input.timestamp=at"]
MODEL = [
    "train.rank=4", "train.max_iter=3", "train.biases=true", "confidence.item_weight=propensity",
    "confidence.half_life_days=30",
]  # fmt: skip


@pytest.fixture
def plays(tmp_path):
    """Plays of integer users and text items, some of them twice, with weights and times."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=400), rng.integers(20, size=400)
    table = {
        "user": users * 10**12,
        "item": [f"ü{i}" for i in items],
        "plays": rng.integers(1, 9, 400).astype(np.float64),
        "trust": rng.choice([0.5, 1.0, 2.0], 400),
        "at": 1_700_000_000 + rng.integers(90 * 86_400, size=400),
    }
    pq.write_table(pa.table(table), tmp_path / "plays")
    return table


def read_rows(folder):
    table = pq.read_table(folder)
    return dict(zip(table["id"].to_pylist(), table["features"].to_pylist(), strict=True))


def assert_same_users(folder, other):
    found, expected = read_rows(folder / "user_factors"), read_rows(other / "user_factors")
    assert sorted(found) == sorted(expected)
    assert_same_rows(np.array([found[i] for i in sorted(found)]), np.array([expected[i] for i in sorted(found)]))


def test_a_fold_in_of_the_training_interactions_is_the_trained_model_and_new_users_appear(run_job, plays, tmp_path):
    done = run_job("train", *SETTINGS, *MODEL, "output.path=model", "output.version=v1")
    assert done.returncode == 0, done.stderr
    versions = tmp_path / "model/versions"
    done = run_job("fold_in", *SETTINGS, "model.path=model", "output.version=v2", "output.publish=false")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/CURRENT").read_text() == "v1\n"
    assert_same_users(versions / "v2", versions / "v1")
    for table in ("item_factors", "item_weights"):
        old, new = (sorted((versions / v / table).glob("*.parquet")) for v in ("v1", "v2"))
        assert [f.read_bytes() for f in old] == [f.read_bytes() for f in new]
    trained, refreshed = (json.loads((versions / v / "manifest.json").read_text()) for v in ("v1", "v2"))
    assert (refreshed["version"], refreshed["folded_in_from"]) == ("v2", "v1")
    assert refreshed["counts"] == {**trained["counts"], "rows_of_unknown_items": 0}
    assert refreshed["objectives"] == trained["objectives"]
    first, second = (json.loads((versions / v / "gramians.json").read_text()) for v in ("v1", "v2"))
    assert first["items"] == second["items"]
    np.testing.assert_allclose(first["users"], second["users"], rtol=1e-3, atol=1e-3)

    # One user has played again, one is new, and one item is: every other user stays as trained.
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
    counts = json.loads((versions / "v3/manifest.json").read_text())["counts"]
    assert (counts["users"], counts["observations"], counts["rows_of_unknown_items"]) == (len(new), 3, 1)
    assert not list(versions.glob("*/_work"))
