from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone

import numpy as np
import pyarrow.parquet as pq
import pytest
from objectives import objectives_of, resolved_of
from spark_blocks import blocks_of

from wals_spark.arrays.histogram import Histogram
from wals_spark.blocks.encoding import RECORD_BYTES, cut
from wals_spark.errors import ConfigError, TrainingError
from wals_spark.objective.objective import Loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.manifest import TrainingRun, new_version_name, training_manifest
from wals_spark.settings.train import load_config
from wals_spark.spark.model.factor_tables import write_factors
from wals_spark.spark.model.publish import event_log, new_version, publish
from wals_spark.spark.storage import Storage
from wals_spark.spark.training.rdd import by_block

IDS = {
    "string": ["", "ä", "日本", "0", "x" * 300],
    "bigint": [0, -1, 2**63 - 1, 5, 6],
    "int": [0, -1, 2**31 - 1, 5, 6],
}


@pytest.fixture
def storage(spark, tmp_path):
    return Storage(spark, str(tmp_path / "model"))


@pytest.mark.parametrize("id_type", list(IDS))
def test_factor_tables_are_read_back_with_pyarrow_alone(spark, tmp_path, id_type):
    rows = [(i, "item", 1.0) for i in IDS[id_type]]
    table = spark.createDataFrame(rows, f"user {id_type}, item string, rating double")
    blocks = blocks_of(table, tmp_path / "w", {"train.user_blocks": 9, "train.item_blocks": 1})
    # nine blocks: some of them stay empty
    by_id = {i: np.array([n, n + 0.25, -n], dtype=np.float32) for n, i in enumerate(IDS[id_type])}

    def factors_of(block, records):
        from wals_spark.blocks.encoding import join_ids

        ids = join_ids([record for _, record in records]).to_pylist()
        return ((block, record) for record in cut("factors", np.array([by_id[i] for i in ids], dtype=np.float32)))

    factors = by_block(blocks.users.records("ids").mapPartitionsWithIndex(factors_of), 9)
    write_factors(blocks.users, factors, str(tmp_path / "user_factors"))
    read = pq.read_table(tmp_path / "user_factors")
    assert [str(read.schema.field(name).type) for name in ("id", "features")] == [
        {"string": "string", "bigint": "int64", "int": "int32"}[id_type], "list<element: float>",
    ]  # fmt: skip
    rows_read = dict(zip(read["id"].to_pylist(), read["features"].to_pylist(), strict=True))
    assert rows_read == {i: row.tolist() for i, row in by_id.items()}


def test_a_table_larger_than_a_record_is_written_whole(spark, tmp_path):
    n, rank = 70_000, 16  # 4.5 MB of factors
    assert n * rank * 4 > 2 * RECORD_BYTES
    table = spark.range(n).selectExpr("id user", "0L item", "1d rating")
    blocks = blocks_of(table, tmp_path / "w", {"train.user_blocks": 1, "train.item_blocks": 1})
    values = np.arange(n * rank, dtype=np.float32).reshape(n, rank)
    records = [(0, record) for record in cut("factors", values)]
    whole = by_block(spark.sparkContext.parallelize(records, 2), 1)
    write_factors(blocks.users, whole, str(tmp_path / "user_factors"))
    read = pq.read_table(tmp_path / "user_factors")
    assert read["id"].to_pylist() == list(range(n))
    np.testing.assert_array_equal(read["features"].combine_chunks().flatten().to_numpy(), values.ravel())
    one_more = dataclasses.replace(blocks.users, rows=n + 1)
    with pytest.raises(TrainingError, match=rf"holds {n} rows where {n + 1} were trained: the model is not published"):
        write_factors(one_more, whole, str(tmp_path / "short"))


def test_a_complete_version_stays_and_debris_is_deleted(storage, tmp_path):
    with new_version(storage, "v1") as folder:
        storage.replace("debris", folder, "_work", "x")
        storage.replace("debris", folder, "user_factors", "part-0")
    assert not (tmp_path / "model/versions/v1/_work").exists()
    with new_version(storage, "v1") as folder:
        assert not (tmp_path / "model/versions/v1/user_factors").exists()
        publish(storage, "v1", {}, to_serve=True)
    assert (tmp_path / "model/CURRENT").read_text() == "v1\n"
    with (
        pytest.raises(ConfigError, match=r"output\.version = v1: .* is a complete model and stays"),
        new_version(storage, "v1"),
    ):
        pass
    assert (tmp_path / "model/versions/v1/manifest.json").exists()


def test_a_failed_run_leaves_no_model_and_no_work_files(storage, tmp_path):
    with new_version(storage, "good"):
        publish(storage, "good", {}, to_serve=True)
    with pytest.raises(ZeroDivisionError):
        _fail_half_way(storage, "bad")
    assert [path.name for path in (tmp_path / "model/versions/bad").iterdir()] == ["_wals_spark"]
    assert (tmp_path / "model/CURRENT").read_text() == "good\n"


def _fail_half_way(storage, version):
    with new_version(storage, version) as folder:
        storage.replace("x", folder, "_work", "x")
        storage.replace(f"{1 / 0}", folder, "events.jsonl")


def test_a_folder_that_cannot_be_written_is_refused_first(spark, tmp_path):
    (tmp_path / "file").write_text("no folder")
    blocked = Storage(spark, str(tmp_path / "file/model"))
    refused = pytest.raises(ConfigError, match=r"file/model/versions/v1' cannot be (written|opened): ")
    with refused, new_version(blocked, "v1"):
        pass
    with pytest.raises(ConfigError, match="there is no storage at 'nosuch://bucket/model': "):
        Storage(spark, "nosuch://bucket/model")


def test_a_version_can_be_complete_without_being_served(storage, tmp_path):
    with new_version(storage, "candidate"):
        publish(storage, "candidate", {}, to_serve=False)
    assert not (tmp_path / "model/CURRENT").exists()


def test_the_manifest_says_what_a_reader_needs():
    config = load_config(None, ["input.path=a", "output.path=b", "train.rank=8"])
    document = training_manifest(
        TrainingRun(
            version="v1",
            created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
            config=resolved_of(config, users=3, items=2),
            automatic=[],
            counts={"users": 3, "items": 2, "observations": 4, "duplicates_merged": 1, "rows_dropped": 0},
            objectives=objectives_of(config, users=3, items=2),
            last=HalfIteration(4, 4, "users", 3, 0.1, Loss(3.0, 2.0, 1.0)),
            iterations=2,
            stopped_by="max_iter",
            spark_version="4.0",
            degrees={"users": Histogram.of_counts(np.array([1, 1, 2])), "items": Histogram.of_counts(np.array([2, 2]))},
            seconds={"train": 1.23456},
            objective_summary=["objective: ..."],
        )
    )
    assert document["tables"]["user_factors"] == {
        "path": "user_factors",
        "rows": 3,
        "columns": ["id", "features"],
    }
    assert document["loss"] == {"total": 6.0, "observed": 3.0, "unobserved": 2.0, "penalty": 1.0}
    assert document["settings"]["train"]["rank"] == 8
    assert document["seconds"] == {"train": 1.235}
    assert document["degrees"]["users"] == {
        "from": [1, 2], "rows": [2, 1], "mean": 1.33, "median": 1, "p99": 1, "most": 2,
    }  # fmt: skip
    assert (document["format_version"], document["created"]) == (2, "2026-01-02T03:04:05+00:00")


def test_default_versions_sort_by_time():
    times = [datetime(2026, month, 2, 3, 4, 5, tzinfo=timezone.utc) for month in (1, 2, 11)]
    names = [new_version_name(time) for time in times]
    assert names == sorted(names)
    assert names[0] == "20260102T030405Z"


def test_events_are_on_storage_even_if_training_failed(storage, tmp_path):
    events = [HalfIteration(n, 4, "users", 1, 0.5, Loss(1.0, 2.0, 3.0)) for n in range(1, 5)]
    file = tmp_path / "model/versions/v/events.jsonl"

    def numbers():
        return [json.loads(line)["half_iteration"] for line in file.read_text().splitlines()]

    def fail_after_three(folder):
        with event_log(storage, folder) as log:
            growing = []
            for event in events[:3]:
                growing.append(event)
                log(growing)
            assert numbers() == [1]  # the others within the next seconds
            growing.append("what was not logged is not written")
            raise ZeroDivisionError

    with new_version(storage, "v") as folder:
        with pytest.raises(ZeroDivisionError):
            fail_after_three(folder)
        assert numbers() == [1, 2, 3]
        with event_log(storage, folder) as log:
            log(events[:1])
            log(events)
        assert numbers() == [1, 2, 3, 4]
