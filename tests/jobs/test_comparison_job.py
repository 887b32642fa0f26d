from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wals_spark.local.synthetic import synthetic_listening


@pytest.mark.slow
def test_two_versions_of_a_model_are_compared(run_job, tmp_path):
    history = synthetic_listening(n_users=300)
    plays = pa.table({"user": history.users, "item": history.items, "rating": history.plays})
    for name, part in (("train", plays.filter(~history.held_out)), ("test", plays.filter(history.held_out))):
        pq.write_table(part, tmp_path / f"{name}.parquet")
    for rank in (1, 16):
        done = run_job("train", "input.path=train.parquet", "output.path=model", f"output.version=v{rank}",
                       f"train.rank={rank}")  # fmt: skip
        assert done.returncode == 0, done.stderr
    tested = ["model.path=model", "input.path=train.parquet", "test.path=test.parquet"]
    done = run_job("evaluate", *tested, "against.version=v1", "evaluate.k=10", "evaluate.metrics=ndcg")
    assert done.returncode == 0, done.stderr
    assert "Model v16 against v1, " in done.stdout
    assert done.stdout.rstrip().endswith("better")
    folder = tmp_path / "model/versions/v16"
    compared = json.loads((folder / "metrics.json").read_text())
    assert compared["against"]["version"] == "v1"
    assert "version v1</th>" in (folder / "report.html").read_text(encoding="utf-8")
    done = run_job("evaluate", *tested, "against.version=none_such")
    assert done.returncode == 3
    assert "against.path or against.version names another folder" in done.stderr
