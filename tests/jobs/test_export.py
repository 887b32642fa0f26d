from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest


def test_an_export_is_searched_without_this_package(run_job, tmp_path):
    faiss = pytest.importorskip("faiss", reason="the extra index is not installed")
    rng = np.random.default_rng(0)
    rows = (f"{user},i{item}" for user in range(60) for item in rng.choice(40, 8, replace=False))
    (tmp_path / "plays.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    given = ["input.path=plays.csv", "input.format=csv", "input.options.header=true", "input.rating="]
    done = run_job("train", *given, "train.rank=4", "train.max_iter=3", "output.path=model", "output.version=v1")
    assert done.returncode == 0, done.stderr
    settings = ["model.path=model", "output.path=items", "export.index=hnsw", "export.precision=float16"]
    done = run_job("export", *settings, "export.sample=30")
    assert done.returncode == 0, done.stderr
    assert "recall@10 of the index, beside exact search, of 30 users: " in done.stderr
    found = json.loads((tmp_path / "items/export.json").read_text())
    assert sorted(path.name for path in tmp_path.joinpath("items").iterdir()) == [
        "export.json", "ids.parquet", "index.faiss", "items.npy",
    ]  # fmt: skip
    assert (found["model_version"], found["items"], found["recall"]["users"]) == ("v1", 40, 30)
    assert min(found["recall"]["found_by"].values()) > 0.9

    users = pq.read_table(tmp_path / "model/versions/v1/user_factors")
    items = pq.read_table(tmp_path / "model/versions/v1/item_factors")
    vectors = dict(zip(items["id"].to_pylist(), items["features"].to_pylist(), strict=True))
    ids = pq.read_table(tmp_path / "items/ids.parquet")["id"].to_pylist()
    user = np.array(users["features"][0].as_py(), dtype=np.float32)
    expected = sorted(ids, key=lambda i: -(user @ np.array(vectors[i])))[:5]
    scores = np.append(user, 0.0) @ np.load(tmp_path / "items/items.npy").astype(np.float64).T
    by_cosine = [ids[row] for row in np.argsort(-scores)[:5]]
    rows = faiss.read_index(str(tmp_path / "items/index.faiss")).search(user[None], 5)[1][0]
    assert len({*by_cosine} & {*expected}) >= 4
    assert len({*(ids[row] for row in rows)} & {*expected}) >= 4

    again = run_job("export", *settings)
    assert again.returncode == 2
    assert "items exists and stays" in again.stderr
