"""WALS as a guest in the user's session: what it borrows and what it leaves."""

from __future__ import annotations

import gc
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from als_data import explicit_ratings, implicit_ratings
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F

from wals_spark.ml import WALS, WALSEvaluator

COLUMNS = "user int, item int, rating float"


@pytest.fixture
def ratings(spark):
    return spark.createDataFrame(explicit_ratings().training, COLUMNS)


def state_of(spark):
    """All that a user could find changed."""
    gc.collect()
    sc = spark.sparkContext
    return {
        "settings": dict(sorted((row["key"], row["value"]) for row in spark.sql("SET").collect())),
        "persisted": set(sc._jsc.getPersistentRDDs()),
        "folders": {name for name in os.listdir(tempfile.gettempdir()) if "wals_spark" in name},
        "files": set(sc.listFiles),
        "description": sc.getLocalProperty("spark.job.description"),
        "group": sc.getLocalProperty("spark.jobGroup.id"),
        "tags": sc.getJobTags(),
        "python": sc.pythonExec,
    }


def test_ten_fits_transforms_and_recommends_leave_nothing(spark, ratings):
    spark.sparkContext.setJobGroup("mine", "my own work")
    before = state_of(spark)
    for seed in range(10):
        model = WALS(rank=2, maxIter=1, seed=seed).fit(ratings)
        assert model.transform(ratings).count() == ratings.count()
        assert model.recommendForAllUsers(3, exclude=ratings).count() == 20
        assert model.similarItems(2).count() == 24
    del model
    assert state_of(spark) == before


def test_tables_outlive_the_model_that_they_read_from(spark, ratings):
    predictions = WALS(rank=2, maxIter=1).fit(ratings).transform(ratings).select("prediction").where("prediction < 99")
    best = WALS(rank=2, maxIter=1).fit(ratings).recommendForAllUsers(3).select(F.explode("recommendations"))
    gc.collect()
    assert predictions.count() == ratings.count()
    assert best.count() == 60


def test_fits_in_threads_are_those_without(spark, ratings):
    def factors(rank):
        model = WALS(rank=rank, maxIter=2).fit(ratings)
        return {row["id"]: row["features"] for row in model.userFactors.collect()}

    before = state_of(spark)["settings"]
    with ThreadPoolExecutor(4) as pool:
        in_threads = list(pool.map(factors, [1, 2, 3, 4]))
    assert in_threads == [factors(rank) for rank in [1, 2, 3, 4]]
    assert state_of(spark)["settings"] == before


def test_param_maps_share_one_preparation(spark, ratings, caplog):
    als = WALS(maxIter=2, coldStartStrategy="drop")
    grid = ParamGridBuilder().addGrid(als.rank, [1, 2, 3]).addGrid(als.regParam, [0.01, 0.1]).build()
    with caplog.at_level("INFO", "wals_spark"):
        models = dict(als.fitMultiple(ratings, grid))
    assert [models[n].rank for n in range(6)] == [1, 1, 2, 2, 3, 3]
    assert sum(message.startswith("read ") for message in caplog.messages) == 1
    alone = WALS(maxIter=2, rank=2, regParam=0.1).fit(ratings)
    both = [{row["id"]: row["features"] for row in m.itemFactors.collect()} for m in (alone, models[3])]
    assert both[0] == both[1]
    wrong = [{als.rank: 1}, {als.rank: -1}]
    with pytest.raises(ValueError, match="rank = -1: it has to be at least 1"):
        als.fitMultiple(ratings, wrong)


def test_maps_that_read_the_table_otherwise_have_their_own(spark, caplog):
    table = spark.createDataFrame(implicit_ratings(dislikes=False).training, COLUMNS)
    als = WALS(rank=2, maxIter=2)
    grid = [{als.implicitPrefs: True}, {als.implicitPrefs: False}, {als.implicitPrefs: True, als.alpha: 9.0}]
    with caplog.at_level("INFO", "wals_spark"):
        models = als.fit(table, grid)
    assert sum(message.startswith("read ") for message in caplog.messages) == 2
    assert len({m.summary.objectiveHistory[-1] for m in models}) == 3


def test_work_goes_where_the_user_says(spark, ratings, tmp_path, monkeypatch):
    model = WALS(rank=2, maxIter=1, workDir=str(tmp_path / "mine")).fit(ratings)
    assert list((tmp_path / "mine").iterdir())
    del model
    gc.collect()
    assert not list((tmp_path / "mine").iterdir())
    monkeypatch.setenv("SPARKML_TEMP_DFS_PATH", str(tmp_path / "of-spark"))
    model = WALS(rank=2, maxIter=1).fit(ratings)
    assert list((tmp_path / "of-spark").iterdir())
    copied = model.copy()
    del model
    gc.collect()
    assert copied.userFactors.count() == 20
    del copied
    gc.collect()
    assert not list(Path(tmp_path / "of-spark").iterdir())


@pytest.mark.slow
def test_the_evaluator_ranks_without_training_pairs(spark):
    data = implicit_ratings(dislikes=False)
    training, test = (spark.createDataFrame(rows, COLUMNS) for rows in (data.training, data.test))
    als = WALS(rank=2, implicitPrefs=True, maxIter=3, regParam=0.05)
    evaluator = WALSEvaluator(metricName="recallAtK", k=5)
    model = als.fit(training)
    scores = {
        row["user"]: [entry["item"] for entry in row["recommendations"]]
        for row in model.recommendForAllUsers(5, exclude=training).collect()
    }
    held_out: dict[int, set[int]] = {}
    for user, item, _ in data.test:
        held_out.setdefault(user, set()).add(item)
    expected = np.mean([len(items & set(scores[user])) / len(items) for user, items in held_out.items()])
    assert evaluator.evaluate(model.transform(test)) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"needs the table that WALSModel\.transform has returned"):
        evaluator.evaluate(training)
    grid = ParamGridBuilder().addGrid(als.regParam, [0.05, 1e6]).build()
    search = CrossValidator(estimator=als, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1)
    metrics = search.fit(training).avgMetrics
    assert metrics[0] > metrics[1]
