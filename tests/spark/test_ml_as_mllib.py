"""The promises of MLlib's ALS, in one file for both estimators: what passes with one passes with the other."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
from als_data import explicit_ratings, implicit_ratings
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import types as T

from wals_spark.ml import WALS, WALSModel

COLUMNS = "user int, item int, rating float"
MODELS = {ALS: ALSModel, WALS: WALSModel}


@pytest.fixture(params=[pytest.param(ALS, marks=pytest.mark.exhaustive, id="MLlib"), pytest.param(WALS, id="ours")])
def als(request):
    """The class of the estimator; MLlib's is for its promises to be its own, and takes its time."""
    return request.param


def few_blocks(als):
    return {"numUserBlocks": 2, "numItemBlocks": 2} if als is ALS else {}


def fitted(als, spark, rows, **params):
    """A model of rows; MLlib with few blocks, whose tasks take it most of its time."""
    return als(**{"seed": 1, **few_blocks(als), **params}).fit(spark.createDataFrame(rows, COLUMNS))


def squared_errors():
    return RegressionEvaluator(labelCol="rating", metricName="rmse")


def rmse(model, spark, rows):
    return squared_errors().evaluate(model.transform(spark.createDataFrame(rows, COLUMNS)))


def test_params_defaults_and_docs_are_mllibs(als, spark):
    reference, estimator = ALS(), als()
    for param in reference.params:
        ours = estimator.getParam(param.name)
        assert ours.doc == param.doc
        if param.name != "seed" and reference.hasDefault(param):
            assert estimator.getOrDefault(ours) == reference.getOrDefault(param)
            getter = f"get{param.name[0].upper()}{param.name[1:]}"
            assert getattr(estimator, getter)() == getattr(reference, getter)()
    theirs = inspect.signature(ALS.__init__).parameters
    mine = inspect.signature(als.__init__).parameters
    assert {name: p.default for name, p in theirs.items()}.items() <= {n: p.default for n, p in mine.items()}.items()


def test_setters_set_and_return_the_estimator(als, spark):
    values = {
        "Rank": 3, "MaxIter": 4, "RegParam": 0.5, "NumUserBlocks": 2, "NumItemBlocks": 3, "ImplicitPrefs": True,
        "Alpha": 2.0, "UserCol": "u", "ItemCol": "i", "RatingCol": "r", "PredictionCol": "p", "Nonnegative": True,
        "CheckpointInterval": -1, "IntermediateStorageLevel": "DISK_ONLY", "FinalStorageLevel": "NONE",
        "ColdStartStrategy": "drop", "Seed": 9, "BlockSize": 8,
    }  # fmt: skip
    estimator = als()
    for name, value in values.items():
        assert getattr(estimator, f"set{name}")(value) is estimator
        assert getattr(estimator, f"get{name}")() == value
    assert estimator.setNumBlocks(7).getNumUserBlocks() == estimator.getNumItemBlocks() == 7
    assert estimator.copy({estimator.rank: 8}).getRank() == 8
    assert estimator.getRank() == 3


@pytest.mark.parametrize(
    "params",
    [
        {"rank": 0}, {"maxIter": -1}, {"regParam": -0.1}, {"numUserBlocks": 0}, {"numItemBlocks": 0}, {"alpha": -1.0},
        {"checkpointInterval": 0}, {"intermediateStorageLevel": "NONE"}, {"finalStorageLevel": "x"},
        {"coldStartStrategy": "x"}, {"blockSize": 0}, {"rank": "a"}, {"userCol": 3.5},
    ],
    ids=str,
)  # fmt: skip
def test_values_beyond_the_limits_are_refused(als, spark, params):
    with pytest.raises(Exception, match=r"\S"):
        als(**params).fit(spark.createDataFrame([(0, 0, 1.0)], COLUMNS))


@pytest.mark.parametrize(("rank", "max_iter", "reg_param"), [(1, 8, 0.0), (1, 8, 1e-5), (2, 25, 1e-5)])
def test_a_low_rank_matrix_is_recovered(als, spark, rank, max_iter, reg_param):
    data = explicit_ratings(rank=rank, positive=rank == 1)
    model = fitted(als, spark, data.training, rank=rank, maxIter=max_iter, regParam=reg_param)
    assert rmse(model, spark, data.test) < 0.002


def test_implicit_feedback_with_dislikes_ranks_likes_first(als, spark):
    data = implicit_ratings()
    model = fitted(als, spark, data.training, implicitPrefs=True, rank=4, maxIter=8, regParam=0.01, alpha=4.0)
    rows = model.transform(spark.createDataFrame(data.test, COLUMNS)).collect()
    likes = [row["prediction"] for row in rows if row["rating"] > 0]
    dislikes = [row["prediction"] for row in rows if row["rating"] < 0]
    assert np.mean(likes) > np.mean(dislikes) + 0.4


def test_a_user_who_only_dislikes_has_a_row_of_zeros(als, spark):
    rows = [(0, 0, 1.0), (0, 1, 2.0), (1, 1, 1.0), (2, 0, -3.0), (3, 1, 0.0)]
    model = fitted(als, spark, rows, implicitPrefs=True, rank=2, maxIter=3)
    factors = {row["id"]: row["features"] for row in model.userFactors.collect()}
    assert set(factors) == {0, 1, 2, 3}
    np.testing.assert_allclose([factors[2], factors[3]], 0, atol=1e-6)


def test_nonnegative_factors_have_no_negative_entries(als, spark):
    model = fitted(als, spark, explicit_ratings(positive=True).training, nonnegative=True, rank=2, maxIter=4)
    for table in (model.userFactors, model.itemFactors):
        assert min(min(row["features"]) for row in table.collect()) >= 0


def test_two_rows_of_a_pair_are_two_observations(als, spark):
    """The last half-iteration solves users, so a user's row is the ridge solution of its rows, repeated or not."""
    rows = [(0, 0, 1.0), (0, 0, 5.0), (0, 1, 2.0), (1, 0, 3.0), (1, 1, 4.0), (1, 1, 4.0)]
    for implicit in (False, True):
        model = fitted(als, spark, rows, rank=2, maxIter=2, regParam=0.2, implicitPrefs=implicit, alpha=1.5)
        items = {row["id"]: np.array(row["features"]) for row in model.itemFactors.collect()}
        users = {row["id"]: row["features"] for row in model.userFactors.collect()}
        for user in (0, 1):
            own = [(items[i], r) for u, i, r in rows if u == user]
            lhs, rhs = 0.2 * len(own) * np.eye(2), np.zeros(2)
            if implicit:
                lhs += sum(np.outer(y, y) for y in items.values())
            for y, r in own:
                lhs += (1.5 * r if implicit else 1.0) * np.outer(y, y)
                rhs += (1 + 1.5 * r if implicit else r) * y
            np.testing.assert_allclose(users[user], np.linalg.solve(lhs, rhs), rtol=2e-3, atol=2e-4)


def test_unknown_ids_predict_nan_or_are_dropped(als, spark):
    model = fitted(als, spark, [(0, 0, 1.0), (1, 1, 2.0)], rank=1, maxIter=1)
    pairs = spark.createDataFrame([(0, 0, "a"), (0, 9, "b"), (9, 0, "c")], "user int, item int, id string")
    rows = {row["id"]: row["prediction"] for row in model.transform(pairs).collect()}
    assert not np.isnan(rows["a"])
    assert np.isnan([rows["b"], rows["c"]]).all()
    dropped = (
        model.setColdStartStrategy("drop").setPredictionCol("p").transform(pairs.withColumnRenamed("id", "features"))
    )
    assert [(row["features"], row["p"]) for row in dropped.collect()] == [("a", pytest.approx(rows["a"]))]
    assert dropped.schema["p"].dataType == T.FloatType()


@pytest.fixture
def model(als, _session, spark):
    return fitted(als, spark, explicit_ratings().training, rank=3, maxIter=3)


def test_recommendations_have_mllibs_schema_counts_and_order(als, model):
    for name, n_rows, query, other in (
        ("recommendForAllUsers", 20, "user", "item"),
        ("recommendForAllItems", 24, "item", "user"),
    ):
        table = getattr(model, name)(5)
        best = T.StructType([T.StructField(other, T.IntegerType()), T.StructField("rating", T.FloatType())])
        assert table.columns == [query, "recommendations"]
        assert table.schema["recommendations"].dataType == T.ArrayType(best)
        assert table.schema[query].dataType == T.IntegerType()
        rows = table.collect()
        assert len(rows) == n_rows
        for row in rows:
            ratings = [entry["rating"] for entry in row["recommendations"]]
            assert len(ratings) == 5
            assert ratings == sorted(ratings, reverse=True)
    everything = model.recommendForAllUsers(1000).first()
    assert len(everything["recommendations"]) == 24


def test_subsets_may_repeat_ids_and_have_strangers(als, model, spark):
    users = spark.createDataFrame([(1, "x"), (3, "y"), (3, "z"), (77, "z")], "user int, other string")
    of_subset = {row["user"]: row["recommendations"] for row in model.recommendForUserSubset(users, 4).collect()}
    of_all = {row["user"]: row["recommendations"] for row in model.recommendForAllUsers(4).collect()}
    assert of_subset == {user: of_all[user] for user in (1, 3)}
    items = spark.createDataFrame([(2,), (2,), (88,)], "item int")
    assert [row["item"] for row in model.recommendForItemSubset(items, 3).collect()] == [2]


def test_a_pipeline_indexes_strings_first(als, spark, tmp_path):
    rows = [(f"u{user}", item, rating) for user, item, rating in explicit_ratings().training]
    table = spark.createDataFrame(rows, "name string, item int, rating float")
    pipeline = Pipeline(
        stages=[StringIndexer(inputCol="name", outputCol="user"), als(rank=1, maxIter=3, **few_blocks(als))]
    )
    model = pipeline.fit(table)
    model.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    before, after = (
        {(row["name"], row["item"]): row["prediction"] for row in m.transform(table).collect()} for m in (model, loaded)
    )
    assert before == pytest.approx(after)
    assert len(before) == len(rows)


@pytest.mark.parametrize("search", [CrossValidator, TrainValidationSplit])
def test_searches_choose_the_better_map(als, spark, search, tmp_path):
    table = spark.createDataFrame(explicit_ratings(rank=1, positive=True).training, COLUMNS)
    estimator = als(maxIter=3, rank=1, seed=1, coldStartStrategy="drop", **few_blocks(als))
    grid = ParamGridBuilder().addGrid(estimator.regParam, [1e-4, 10.0]).build()
    more = {"numFolds": 2} if search is CrossValidator else {"trainRatio": 0.7}
    found = search(
        estimator=estimator, estimatorParamMaps=grid, evaluator=squared_errors(), parallelism=2, seed=2, **more
    ).fit(table)
    metrics = found.avgMetrics if search is CrossValidator else found.validationMetrics
    assert metrics[0] < metrics[1]
    found.write().overwrite().save(str(tmp_path / "found"))
    loaded = type(found).load(str(tmp_path / "found"))
    assert loaded.bestModel.rank == 1


def test_estimators_and_models_are_saved_and_loaded(als, spark, model, tmp_path):
    estimator = als(rank=7, alpha=2.0, userCol="u").setPredictionCol("p")
    estimator.write().overwrite().save(str(tmp_path / "als"))
    loaded = als.load(str(tmp_path / "als"))
    assert loaded.extractParamMap() == estimator.extractParamMap()
    path = str(tmp_path / "model")
    model.setPredictionCol("p").save(path)
    with pytest.raises(Exception, match="exist"):
        model.save(path)
    model.write().overwrite().save(path)
    again = MODELS[als].load(path)
    assert (again.uid, again.rank, again.getPredictionCol()) == (model.uid, model.rank, "p")
    pairs = spark.createDataFrame([(0, 0), (1, 2)], "user int, item int")
    assert again.transform(pairs).orderBy("user").collect() == model.transform(pairs).orderBy("user").collect()


@pytest.mark.slow
def test_a_model_loads_in_another_process(als, model, tmp_path):
    model.save(str(tmp_path / "model"))
    one = {row["user"]: row["recommendations"] for row in model.recommendForAllUsers(1).collect()}[0][0]
    module, name = MODELS[als].__module__, MODELS[als].__name__
    program = (
        f"from pyspark.sql import SparkSession; from {module} import {name}; "
        "spark = SparkSession.builder.master('local[1]').getOrCreate(); "
        f"rows = {name}.load({str(tmp_path / 'model')!r}).recommendForAllUsers(1).where('user = 0').collect(); "
        "print(rows[0]['recommendations'][0]['item'])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == [str(one["item"])]


def test_there_may_be_more_blocks_than_ratings(als, spark):
    model = als(rank=1, maxIter=2, numUserBlocks=5, numItemBlocks=5).fit(
        spark.createDataFrame([(0, 1, 1.0), (1, 2, 2.0)], COLUMNS)
    )
    assert model.userFactors.count() == model.itemFactors.count() == 2


def test_models_take_param_maps_and_copies(als, spark, model):
    pairs = spark.createDataFrame([(0, 0)], "user int, item int")
    assert model.transform(pairs, {model.predictionCol: "score"}).columns == ["user", "item", "score"]
    copied = model.copy({model.userCol: "u"})
    assert (copied.getUserCol(), model.getUserCol()) == ("u", "user")
    estimator, table = als(rank=1, maxIter=1), spark.createDataFrame([(0, 0, 1.0), (1, 1, 2.0)], COLUMNS)
    models = estimator.fit(table, [{estimator.rank: 1}, {estimator.rank: 2}])
    assert [m.rank for m in models] == [1, 2]
    assert estimator.fit(table, {estimator.rank: 3}).rank == 3


@pytest.mark.parametrize(
    "rows", [[(None, 0, 1.0), (1, 1, 1.0)], [(0, 0, float("nan")), (1, 1, 1.0)]], ids=["null", "nan"]
)
def test_null_ids_and_ratings_that_are_nan_are_refused(als, spark, rows):
    with pytest.raises(Exception, match=r"(?i)null|nan|finite"):
        als(rank=1, maxIter=1).fit(spark.createDataFrame(rows, COLUMNS))


def test_ids_may_be_whole_doubles(als, spark):
    table = spark.createDataFrame([(0.0, 0, 1.0), (1.0, 1, 2.0)], "user double, item int, rating float")
    model = als(rank=1, maxIter=1, **few_blocks(als)).fit(table)
    assert sorted(row["id"] for row in model.userFactors.collect()) == [0, 1]
    assert model.transform(table).where("not isnan(prediction)").count() == 2
    with pytest.raises(Exception, match=r"(?i)integer|whole"):
        als(rank=1, maxIter=1).fit(spark.createDataFrame([(0.5, 0, 1.0)], "user double, item int, rating float"))


def test_fits_leave_nothing_persisted(als, spark):
    before = set(spark.sparkContext._jsc.getPersistentRDDs())
    model = fitted(als, spark, explicit_ratings().training, rank=1, maxIter=2)
    model.transform(spark.createDataFrame([(0, 0)], "user int, item int")).count()
    model.recommendForAllUsers(2).count()
    left = set(spark.sparkContext._jsc.getPersistentRDDs()) - before
    assert len(left) <= (2 if als is ALS else 0)  # MLlib persists the factors of its model
