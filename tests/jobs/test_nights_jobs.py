"""Retraining, publishing, status and erasing from the command line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from night_world import Nights, Shop, files_with


@pytest.mark.slow
def test_a_night_and_what_is_done_by_hand(run_job, tmp_path):
    nights = Nights(tmp_path, Shop(3))
    model = f"model.path={nights.root}"
    for day in range(2):
        nights.write(nights.shop.rows(day))
        done = run_job("retrain", *nights.arguments(f"n{day}"))
        assert done.returncode == 0, done.stderr
    again = run_job("retrain", *nights.arguments("n1"))
    assert (again.returncode, "run n1 is done" in again.stderr) == (0, True)
    refused = run_job("retrain", *nights.arguments("n2"))
    assert (refused.returncode, nights.served) == (3, "n1")
    assert "error: no row is newer than those of version n1" in refused.stderr

    forced = run_job("publish", model, "model.version=n0", "publish.force=true", "publish.why=a test")
    assert (forced.returncode, nights.served) == (0, "n0")
    assert "version n0 is served; before: n1" in forced.stdout
    assert nights.history()[-1]["why"] == "a test"
    status = run_job("status", model)
    assert "version n0 is served since" in status.stdout
    assert "n2" in status.stdout
    metrics = run_job("status", model, "status.format=prometheus")
    assert 'wals_spark_served_info{version="n0"} 1.0' in metrics.stdout

    recommended = run_job("recommend", model, "recommend.exclude_seen=false", f"output.path={tmp_path / 'lists'}")
    assert recommended.returncode == 0, recommended.stderr
    pq.write_table(pa.table({"id": ["user-000003"]}), tmp_path / "erased.parquet")
    erased = run_job("forget", model, f"forget.path={tmp_path / 'erased.parquet'}")
    assert erased.returncode == 0, erased.stderr
    assert f"may still have them: file:{tmp_path / 'lists'} (recommendations of version n0" in erased.stdout
    assert files_with(nights.root, ["user-000003"]) == []
    assert nights.served == "n0-erased1"

    assert run_job("publish", model, "publish.verify=served").returncode == 0
    manifest = json.loads((nights.root / "versions/n0-erased1/manifest.json").read_text())
    assert manifest["erased"]["users"] == 1
    part = next((nights.root / "versions/n0-erased1/user_factors").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    damaged = run_job("publish", model, "publish.verify=served")
    assert (damaged.returncode, part.name in damaged.stderr) == (3, True), damaged.stderr
