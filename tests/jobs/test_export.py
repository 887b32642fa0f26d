from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_models import write_model


@pytest.mark.slow
def test_an_export_is_searched_without_this_package(run_job, tmp_path):
    faiss = pytest.importorskip("faiss", reason="the extra index is not installed")
    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(n, 4)).astype(np.float32) for n in (60, 40))
    ids = [f"i{n}" for n in rng.permutation(40)]
    write_model(tmp_path / "model/versions/v1", users=(list(range(60)), users), items=(ids, items))
    (tmp_path / "model/CURRENT").write_text("v1\n")
    settings = ["model.path=model", "output.path=items", "export.index=hnsw", "export.precision=float16"]
    done = run_job("export", *settings, "export.sample=30")
    assert done.returncode == 0, done.stderr
    assert "recall@10 of the index against exact search, over 30 users: " in done.stderr
    exported = json.loads((tmp_path / "items/export.json").read_text())
    assert sorted(path.name for path in tmp_path.joinpath("items").iterdir()) == [
        "export.json", "ids.parquet", "index.faiss", "items.npy",
    ]  # fmt: skip
    assert (exported["model_version"], exported["items"], exported["recall"]["users"]) == ("v1", 40, 30)
    assert min(exported["recall"]["found_by"].values()) > 0.9

    scores = dict(zip(ids, items @ users[7], strict=True))
    best = set(sorted(scores, key=scores.get)[-5:])
    ids = pq.read_table(tmp_path / "items/ids.parquet")["id"].to_pylist()
    by_cosine = np.load(tmp_path / "items/items.npy").astype(np.float64) @ np.append(users[7], 0.0)
    assert len({ids[row] for row in np.argsort(by_cosine)[-5:]} & best) >= 4
    by_index = faiss.read_index(str(tmp_path / "items/index.faiss")).search(users[7:8], 5)[1][0]
    assert len({ids[row] for row in by_index} & best) >= 4

    again = run_job("export", *settings)
    assert again.returncode == 2
    assert "'items' exists and stays" in again.stderr
