from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pyspark.sql import functions as F

import wals_spark
from wals_spark.errors import ConfigError, InputError
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.predict import PredictSettings
from wals_spark.spark.evaluate import run_evaluate
from wals_spark.spark.predict import run_predict

EXPLICIT = {"train.preset": "mllib-explicit", "train.rank": 3, "train.max_iter": 2, "train.reg_param": 0.1}
WITH_BIASES = {**EXPLICIT, "train.biases": True, "train.global_mean": True}
IMPLICIT = {"train.rank": 3, "train.max_iter": 2}


def plays_on(spark, seed, users=20):
    rng = np.random.default_rng(seed)
    pairs = sorted(
        {(int(u), f"i{i}") for u, i in zip(rng.integers(0, users, 200), rng.integers(0, 15, 200), strict=True)}
    )
    rows = [(u, i, float(rng.integers(1, 6))) for u, i in pairs]
    return spark.createDataFrame(rows, "user int, item string, rating double")


def by_formula(model):
    """The score of each pair that the model has, by NumPy from its tables."""
    users, items = (
        {row["id"]: np.array(row["features"], dtype=np.float64) for row in table.collect()}
        for table in (model.user_factors, model.item_factors)
    )
    mean = model.manifest["score"]["global_mean"]
    return {(u, i): mean + x @ y for u, x in users.items() for i, y in items.items()}


@pytest.fixture(scope="module")
def model(_session):
    return wals_spark.fit(plays_on(_session, 0), WITH_BIASES)


@pytest.mark.parametrize(
    "settings", [EXPLICIT, *(pytest.param(settings, marks=pytest.mark.slow) for settings in (WITH_BIASES, IMPLICIT))]
)
def test_a_prediction_is_the_product_of_the_written_rows(spark, settings):
    model = wals_spark.fit(plays_on(spark, 0), settings)
    expected = by_formula(model)
    pairs = spark.createDataFrame([(u, i, f"{u} {i}") for u, i in expected], "user long, item string, note string")
    rows = model.predict(pairs).collect()
    assert {(row["user"], row["item"]) for row in rows} == set(expected)
    assert all(row["note"] == f"{row['user']} {row['item']}" for row in rows)
    predicted = [row["prediction"] for row in rows]
    np.testing.assert_allclose(predicted, [expected[row["user"], row["item"]] for row in rows], rtol=1e-6)


def test_strangers_are_nan_or_left_out_and_rows_stay(spark, model):
    rows = [(0, "i0"), (0, "i0"), (999, "i0"), (0, "new"), (None, "i0"), (0, None)]
    pairs = spark.createDataFrame(rows, "user int, item string")
    predicted = [row["prediction"] for row in model.predict(pairs).collect()]
    assert len(predicted) == 6
    assert sum(math.isnan(value) for value in predicted) == 4
    kept = model.predict(pairs, unknown="drop").collect()
    assert [(row["user"], row["item"]) for row in kept] == [(0, "i0")] * 2


def test_columns_that_cannot_be_predicted_are_refused(spark, model):
    pairs = spark.createDataFrame([("0", "i0", 1.0)], "user string, item string, prediction double")
    with pytest.raises(InputError, match="a column is called prediction already"):
        model.predict(pairs)
    with pytest.raises(InputError, match=r"pairs\.user: ids are of type string, those of the model of type int"):
        model.predict(pairs.drop("prediction"))
    with pytest.raises(InputError, match=r"pairs\.item = 'item': there is no such column"):
        model.predict(pairs.select("user"))


def test_rmse_and_mae_are_those_of_the_predictions(spark, model):
    test = plays_on(spark, 1, users=30)
    expected = by_formula(model)
    errors = np.array([expected[u, i] - r for u, i, r in test.collect() if (u, i) in expected])
    unknown = test.count() - len(errors)
    assert unknown
    evaluation = model.evaluate(test, options={"metrics": ["rmse", "mae"]})
    assert evaluation.value("rmse") == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert evaluation.value("mae") == pytest.approx(np.mean(np.abs(errors)))
    assert (evaluation.counts["rated_rows"], evaluation.counts["rated_rows_unknown"]) == (len(errors), unknown)
    assert f"{unknown:,} rows of test.path have a user or an item that the model does not have" in evaluation.caveats[0]
    both = model.evaluate(test, options={"k": [5], "bootstrap": 0})
    assert both.value("rmse") == evaluation.value("rmse")
    assert 0.0 <= both.value("recall@5") <= 1.0
    assert str(both).splitlines()[2].startswith("rmse")


@pytest.mark.slow
def test_rating_errors_of_a_model_of_preferences_are_refused(spark):
    plays = plays_on(spark, 0)
    implicit = wals_spark.fit(plays, IMPLICIT)
    with pytest.raises(ConfigError, match=r"evaluate\.metrics: rmse is of predicted ratings"):
        implicit.evaluate(plays, options={"metrics": ["rmse"]})
    with pytest.raises(ConfigError, match="did you mean rmse"):
        implicit.evaluate(plays, options={"metrics": ["rmsee"]})


@pytest.mark.slow
def test_the_jobs_predict_and_evaluate(spark, model, tmp_path, capsys):
    model.publish(str(tmp_path / "model"))
    plays_on(spark, 1).withColumn("note", F.lit("kept")).write.csv(str(tmp_path / "pairs"), header=True)
    table = {"path": str(tmp_path / "pairs"), "format": "csv", "options": {"header": True}}
    stored = {"model.path": str(tmp_path / "model"), "output.path": str(tmp_path / "written")}
    with pytest.raises(InputError, match=r"pairs\.user: ids are of type string"):
        run_predict(spark, PredictSettings.of({**stored, "pairs": table}))
    assert not (tmp_path / "written").exists()
    plays_on(spark, 1).write.parquet(str(tmp_path / "pairs.parquet"))
    path = str(tmp_path / "pairs.parquet")
    run_predict(spark, PredictSettings.of({**stored, "pairs.path": path}))
    written = spark.read.parquet(stored["output.path"])
    assert written.columns == ["user", "item", "rating", "prediction"]
    assert written.count() == plays_on(spark, 1).count()
    settings = {"model.path": stored["model.path"], "test.path": path, "evaluate.metrics": ["rmse"]}
    run_evaluate(spark, EvaluateSettings.of(settings))
    assert "rmse" in capsys.readouterr().out
    (metrics,) = (tmp_path / "model").glob("versions/*/metrics.json")
    difference = F.avg((F.col("prediction") - F.col("rating")) ** 2)
    rmse = math.sqrt(written.where(~F.isnan("prediction")).agg(difference).head()[0])
    assert json.loads(metrics.read_text())["metrics"][0]["model"] == pytest.approx(rmse)


@pytest.mark.slow
def test_several_ratings_of_a_pair_are_their_mean_by_default(spark):
    """A fit of 64 pairs to their means, whose loss is a small difference of large sums, is not taken for a rise."""
    rows = [(u, i, rating) for u in range(8) for i in range(8) for rating in (3.0, 5.0)]
    plays = spark.createDataFrame(rows, "user int, item int, rating double")
    settings = {"train.preset": "mllib-explicit", "train.rank": 1, "train.reg_param": 1e-4, "train.max_iter": 10}
    model = wals_spark.fit(plays, settings)
    assert model.config.input.duplicates == "mean"
    predicted = [row["prediction"] for row in model.predict(plays).collect()]
    np.testing.assert_allclose(predicted, 4.0, atol=1e-2)
