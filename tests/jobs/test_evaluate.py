from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wals_spark.local.synthetic import synthetic_listening


@pytest.mark.slow
def test_a_table_is_split_trained_on_and_evaluated(run_job, tmp_path):
    history = synthetic_listening(n_users=300)
    table = pa.table({"who": history.users, "what": history.items, "plays": history.plays})
    pq.write_table(table, tmp_path / "plays.parquet")
    columns = ["input.path=plays.parquet", "input.user=who", "input.item=what", "input.rating=plays"]
    done = run_job("split", *columns, "split.by=random", "output.path=parts")
    assert done.returncode == 0, done.stderr
    parts = {name: pq.read_table(tmp_path / "parts" / name) for name in ("train", "test")}
    assert sum(map(len, parts.values())) == len(table)
    assert f"parts/test: {len(parts['test']):,} rows of" in done.stderr

    done = run_job("train", "input.path=parts/train", "output.path=model", "train.rank=8", "train.max_iter=5")
    assert done.returncode == 0, done.stderr
    tested = ["model.path=model", "input.path=parts/train", "test.path=parts/test"]
    done = run_job("evaluate", *tested, "evaluate.k=10", "evaluate.bootstrap=50")
    assert done.returncode == 0, done.stderr
    version = (tmp_path / "model/CURRENT").read_text().strip()
    result = json.loads((tmp_path / "model/versions" / version / "metrics.json").read_text())
    assert result["model"]["version"] == version
    report = (tmp_path / "model/versions" / version / "report.html").read_text(encoding="utf-8")
    assert "<h2>Ranking metrics, compared with popularity</h2>" in report
    assert "<h2>Loss by half-iteration</h2>" in report
    assert result["counts"]["test_pairs"] == len(parts["test"])
    recall = next(entry for entry in result["metrics"] if entry["name"] == "recall")
    assert recall["popularity_high"] < recall["low"] < recall["model"] < recall["high"]
    assert f"recall@10        {recall['model']:.4f}  {recall['low']:.4f} to {recall['high']:.4f}" in done.stdout

    pq.write_table(parts["test"].slice(0, 0), tmp_path / "empty.parquet")
    done = run_job("evaluate", *tested, "test.path=empty.parquet")
    assert done.returncode == 3
    assert done.stderr.strip().splitlines()[-1] == "error: test.path = 'empty.parquet' holds no rows"


@pytest.mark.slow
def test_held_out_users_are_folded_in_and_evaluated(run_job, tmp_path):
    history = synthetic_listening(n_users=300)
    plays = pa.table({"user": history.users, "item": history.items, "rating": history.plays})
    pq.write_table(plays, tmp_path / "plays.parquet")
    done = run_job("split", "input.path=plays.parquet", "split.by=users", "split.share=0.2", "output.path=parts")
    assert done.returncode == 0, done.stderr
    parts = {name: pq.read_table(tmp_path / "parts" / name) for name in ("train", "fold_in", "test")}
    users = {name: set(part["user"].to_pylist()) for name, part in parts.items()}
    assert users["train"].isdisjoint(users["fold_in"])
    assert users["test"] <= users["fold_in"]

    done = run_job("train", "input.path=parts/train", "output.path=model", "train.rank=8", "train.max_iter=5")
    assert done.returncode == 0, done.stderr
    done = run_job("fold_in", "model.path=model", "input.path=parts/fold_in")
    assert done.returncode == 0, done.stderr
    tested = ["model.path=model", "input.path=parts/{train,fold_in}", "test.path=parts/test"]
    done = run_job("evaluate", *tested, "evaluate.k=10", "evaluate.bootstrap=50", "evaluate.recall=capped")
    assert done.returncode == 0, done.stderr
    version = (tmp_path / "model/CURRENT").read_text().strip()
    result = json.loads((tmp_path / "model/versions" / version / "metrics.json").read_text())
    assert result["counts"]["test_pairs"] == len(parts["test"])
    recall = next(entry for entry in result["metrics"] if entry["name"] == "recall")
    assert recall["popularity_high"] < recall["low"]
