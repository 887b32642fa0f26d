"""A training that starts from a stored model, and one whose factors are rotated towards it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from spark_blocks import blocks_of
from spark_training import OBJECTIVE, by_id

import wals_spark
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.run.faults import FAULT
from wals_spark.solvers.start import Start, start_factors
from wals_spark.spark.training.half_iteration import BlockSolver, Side
from wals_spark.spark.training.model_rows import stored_factors
from wals_spark.spark.training.prepare import prepare_blocks
from wals_spark.spark.training.tasks import HalfIterationTask

SETTINGS = {"train.rank": 5, "train.user_blocks": 3, "train.item_blocks": 2}
SCHEMA = "user string, item int, rating float"


@pytest.fixture(scope="module")
def rows():
    users, items, ratings = synthetic_ratings(4000, users=150, items=60, tastes=4, seed=1)
    pairs = list(zip([f"u{user}" for user in users], items.tolist(), ratings.tolist(), strict=True))
    return [pairs[n] for n in np.random.default_rng(0).permutation(len(pairs))]


@pytest.fixture(scope="module")
def yesterday(_session, rows):
    """A model without the last item and the last users."""
    plays = [row for row in rows[:3500] if row[1] != 59 and row[0] not in ("u3", "u4")]
    return wals_spark.fit(_session.createDataFrame(plays, SCHEMA), {**SETTINGS, "train.max_iter": 8})


@pytest.fixture
def today(spark, rows):
    """Its rows and more, without one of its users."""
    return spark.createDataFrame([row for row in rows if row[0] != "u5"], SCHEMA)


def features(model, side):
    table = {"users": model.user_factors, "items": model.item_factors}[side]
    return {row["id"]: np.array(row["features"], dtype=np.float32) for row in table.collect()}


@pytest.mark.parametrize("side", ["users", "items"])
def test_ids_of_the_model_start_from_their_rows(spark, tmp_path, yesterday, today, side):
    blocks = blocks_of(today.selectExpr("user", "item", "double(rating) rating"), tmp_path, SETTINGS)
    objectives = {"users": OBJECTIVE, "items": OBJECTIVE}
    prepared = prepare_blocks(blocks.users, blocks.items, objectives, heavy_row_threshold=0)
    blocked = {"users": blocks.users, "items": blocks.items}[side]
    solver = BlockSolver(spark.sparkContext)
    stored = stored_factors(blocks, side, f"{yesterday.path}/{side[:-1]}_factors")
    start = Start(rank=5, seed=0, scale=1.0, positive=False)
    task = HalfIterationTask(0, side, OBJECTIVE, solver.summaries)
    solved = solver.start(Side(blocked, prepared[side], np.zeros((5, 5))), task, start, stored=stored)
    started, before = by_id(blocked, solved.factors, 5), features(yesterday, side)
    known = started.keys() & before.keys()
    assert sum(part.warm_rows for part in solved.summaries.values()) == len(known) > 50
    for row_id in known:
        np.testing.assert_array_equal(started[row_id], before[row_id])
    new = sorted(started.keys() - before.keys())
    assert new
    drawn = start_factors(pa.array(new, pa.string() if side == "users" else pa.int32()), start, side=side)
    np.testing.assert_array_equal(np.stack([started[row_id] for row_id in new]), drawn)


@pytest.mark.slow
def test_a_warm_start_is_near_the_end_at_once(yesterday, today, spark):
    cold = wals_spark.fit(today, {**SETTINGS, "train.max_iter": 9})
    warm = wals_spark.fit(today, {**SETTINGS, "train.max_iter": 3}, warm_start=yesterday)
    assert warm.manifest["loss"]["total"] <= 1.0005 * cold.manifest["loss"]["total"]
    users = len(features(warm, "users"))
    assert warm.manifest["warm_start"] == {
        "version": yesterday.version,
        "users": {"kept": users - 2, "new": 2, "gone": 1},
        "items": {"kept": 59, "new": 1, "gone": 0},
    }


@pytest.mark.exhaustive
def test_the_same_start_gives_the_same_bits(yesterday, today):
    models = [wals_spark.fit(today, {**SETTINGS, "train.max_iter": 2}, warm_start=yesterday) for _ in range(2)]
    for side in ("users", "items"):
        one, other = (features(model, side) for model in models)
        assert {row_id: row.tobytes() for row_id, row in one.items()} == {i: r.tobytes() for i, r in other.items()}


@pytest.mark.slow
def test_automatic_iterations_are_fewer_from_a_model(yesterday, today):
    warm = wals_spark.fit(today, SETTINGS, warm_start=yesterday)
    assert (warm.manifest["settings"]["train"]["max_iter"], warm.manifest["half_iterations"]) == (4, 8)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"train.rank": 4}, "train.rank = 4 (it was 5)"),
        pytest.param({"train.biases": True}, "train.biases = True (it was False)", marks=pytest.mark.exhaustive),
        pytest.param({"confidence.alpha": 3.0}, "confidence.alpha = 3.0 (it was", marks=pytest.mark.slow),
        pytest.param({"train.nonnegative": True}, "train.nonnegative = True", marks=pytest.mark.exhaustive),
    ],
)
def test_another_objective_starts_cold_and_says_so(yesterday, today, caplog, changed, reason):
    cold = wals_spark.fit(today, {**SETTINGS, "train.max_iter": 1, **changed}, warm_start=yesterday)
    assert "warm_start" not in cold.manifest
    assert f"cold start, not from version {yesterday.version}: " in caplog.text
    assert reason in caplog.text


@pytest.mark.slow
def test_ids_of_another_type_start_cold(yesterday, spark, caplog):
    plays = spark.createDataFrame([(n % 40, n % 30, 1.0) for n in range(900)], "user long, item long, rating double")
    cold = wals_spark.fit(plays, {**SETTINGS, "train.max_iter": 1, "input.duplicates": "sum"}, warm_start=yesterday)
    assert "warm_start" not in cold.manifest
    assert "ids of users are of type bigint (they were string)" in caplog.text


@pytest.mark.slow
def test_wider_integers_are_the_same_ids(yesterday, today):
    wide = today.selectExpr("user", "bigint(item) item", "rating")
    warm = wals_spark.fit(wide, {**SETTINGS, "train.max_iter": 1}, warm_start=yesterday)
    assert warm.manifest["warm_start"]["items"]["kept"] == 59


@pytest.mark.slow
def test_nothing_served_is_a_cold_start(today, tmp_path, caplog):
    caplog.set_level("INFO", "wals_spark")
    settings = {**SETTINGS, "train.max_iter": 1, "output.path": str(tmp_path), "train.warm_start": "served"}
    model = wals_spark.fit(today, settings)
    assert "warm_start" not in model.manifest
    assert "cold start: no version is served yet" in caplog.text


@pytest.mark.slow
def test_a_resumed_run_starts_from_the_same_version(yesterday, today, tmp_path, monkeypatch):
    yesterday.publish(str(tmp_path), version="first")
    settings = {**SETTINGS, "train.max_iter": 2, "output.path": str(tmp_path), "train.warm_start": "served"}
    monkeypatch.setenv(FAULT, "half_iteration_1:raise")
    with pytest.raises(RuntimeError, match="half_iteration_1"):
        wals_spark.fit(today, {**settings, "run.id": "a", "checkpoint.every": "never"})
    monkeypatch.delenv(FAULT)
    yesterday.publish(str(tmp_path), version="second")
    resumed = wals_spark.fit(today, {**settings, "run.id": "a", "checkpoint.every": "never"})
    assert resumed.manifest["warm_start"]["version"] == "first"
    assert json.loads((tmp_path / "runs/a/run.json").read_text())["warm_start"] == "first"


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{}, {"train.biases": True}])
def test_alignment_changes_coordinates_and_no_score(rows, spark, tmp_path, changed):
    plays = spark.createDataFrame(rows[:3500], SCHEMA)
    today = spark.createDataFrame(rows, SCHEMA)
    settings = {**SETTINGS, "train.max_iter": 5, **changed}
    wals_spark.fit(plays, {**settings, "output.path": str(tmp_path), "output.version": "served", "train.seed": 7})
    plain = wals_spark.fit(today, settings)
    kept = {"output.path": str(tmp_path), "output.version": "aligned", "train.align": "served"}
    aligned = wals_spark.fit(today, {**settings, **kept})
    assert aligned.manifest["aligned_with"] == "served"
    assert aligned.manifest["loss"] == plain.manifest["loss"]
    served = features(wals_spark.Model.open(spark, str(tmp_path), "served"), "items")
    ours, theirs = ({side: features(m, side) for side in ("users", "items")} for m in (aligned, plain))
    for user in list(ours["users"])[:20]:
        for item in list(ours["items"])[:20]:
            score = float(theirs["users"][user] @ theirs["items"][item])
            assert float(ours["users"][user] @ ours["items"][item]) == pytest.approx(score, abs=1e-4)
    assert mean_cosine(ours["items"], served) > mean_cosine(theirs["items"], served) + 0.3


def mean_cosine(items, others):
    rows = [(items[i][:5], others[i][:5]) for i in items]
    return np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in rows])
