"""What WALSModel has that MLlib's users have asked for."""

from __future__ import annotations

import numpy as np
import pytest
from als_data import explicit_ratings, implicit_ratings
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import functions as F

import wals_spark
from wals_spark.ml import WALS, WALSModel

COLUMNS = "user int, item int, rating float"


@pytest.fixture(scope="module")
def model(_session):
    return WALS(rank=3, maxIter=3).fit(_session.createDataFrame(explicit_ratings().training, COLUMNS))


def by_id(table):
    return {row["id"]: row["features"] for row in table.collect()}


def lists(table):
    return {row[0]: [tuple(entry) for entry in row[1]] for row in table.collect()}


@pytest.mark.parametrize(
    ("id_type", "of", "stored"),
    [
        ("string", str, "string"), ("bigint", lambda n: 2**40 + n, "bigint"), ("smallint", int, "smallint"),
        ("tinyint", int, "tinyint"), ("decimal(20,0)", int, "bigint"), ("float", float, "bigint"),
    ],
)  # fmt: skip
def test_ids_are_of_many_types_from_end_to_end(spark, id_type, of, stored):
    rows = [(of(u), of(i), r) for u, i, r in explicit_ratings(users=8, items=9).training]
    of_python = {str: "string", int: "bigint", float: "double"}[type(rows[0][0])]
    table = spark.createDataFrame(rows, f"user {of_python}, item {of_python}, rating float")
    table = table.selectExpr(*(f"cast({name} as {id_type}) {name}" for name in ("user", "item")), "rating")
    found = WALS(rank=2, maxIter=1).fit(table)
    assert found.userFactors.schema["id"].dataType.simpleString() == stored
    assert found.transform(table).where("isnan(prediction)").count() == 0
    assert found.recommendForUserSubset(table, 3, exclude=table).count() == 8


def test_known_pairs_are_left_out(model, spark):
    known = spark.createDataFrame(explicit_ratings().training, COLUMNS)
    seen = {(row["user"], row["item"]) for row in known.collect()}
    everything, unseen = lists(model.recommendForAllUsers(24)), lists(model.recommendForAllUsers(24, exclude=known))
    for user, best in everything.items():
        assert unseen[user] == [entry for entry in best if (user, entry[0]) not in seen]
    of_items = lists(model.recommendForAllItems(20, exclude=known))
    assert all((user, item) not in seen for item, best in of_items.items() for user, _ in best)


def test_similar_are_those_of_the_largest_cosine(model, spark):
    factors = {i: np.array(f) / np.linalg.norm(f) for i, f in by_id(model.itemFactors).items()}
    found = lists(model.similarItems(3, spark.createDataFrame([(4,)], "item int")))
    assert set(found) == {4}
    for item, cosine in found[4]:
        assert cosine == pytest.approx(float(factors[4] @ factors[item]), rel=1e-5)
    largest = sorted((float(factors[4] @ y) for i, y in factors.items() if i != 4), reverse=True)[:3]
    np.testing.assert_allclose([cosine for _, cosine in found[4]], largest, rtol=1e-5)
    assert len(lists(model.similarUsers(2))) == 20


def test_fold_in_of_a_training_user_is_its_row(model, spark, tmp_path):
    rows = [row for row in explicit_ratings().training if row[0] == 5]
    model.write().overwrite().save(str(tmp_path / "model"))
    for one in (model, WALSModel.load(str(tmp_path / "model"))):
        folded = one.foldIn(spark.createDataFrame(rows, COLUMNS))
        np.testing.assert_allclose(by_id(folded.userFactors)[5], by_id(model.userFactors)[5], rtol=1e-3, atol=1e-4)
        assert set(by_id(folded.userFactors)) == {5}
    assert len(by_id(model.foldIn(spark.createDataFrame(rows, COLUMNS), keepUsers=True).userFactors)) == 20


def test_the_summary_is_saved_and_the_loss_never_rises(model, tmp_path):
    summary = model.summary
    assert summary.objectiveHistory == sorted(summary.objectiveHistory, reverse=True)
    assert (len(summary.objectiveHistory), summary.totalIterations, summary.stoppedBy) == (6, 3, "maxIter")
    assert summary.counts["users"] == 20
    model.save(str(tmp_path / "model"))
    assert WALSModel.load(str(tmp_path / "model")).summary == summary
    assert not WALSModel().hasSummary
    with pytest.raises(ValueError, match="has no factors"):
        _ = WALSModel().userFactors


def test_jobs_and_notebooks_share_versions(model, spark, tmp_path):
    root = str(tmp_path / "root")
    model.saveVersion(root, "v1")
    served = wals_spark.Model.open(spark, root)
    assert (served.version, by_id(served.user_factors)) == ("v1", by_id(model.userFactors))
    assert (served.manifest["rank"], len(served.events)) == (3, 6)
    again = WALSModel.fromVersion(root)
    assert lists(again.recommendForAllUsers(2)) == lists(model.recommendForAllUsers(2))
    stranger = again.transform(spark.createDataFrame([(10**6, 0)], "user int, item int"))
    assert np.isnan(stranger.first()["prediction"])  # as coldStartStrategy is nan by default


def test_models_of_mllib_load_and_ours_become_mllibs(model, spark, tmp_path):
    known = spark.createDataFrame(explicit_ratings().training, COLUMNS)
    theirs = ALS(rank=2, maxIter=1, seed=1, numUserBlocks=1, numItemBlocks=1, coldStartStrategy="drop").fit(known)
    theirs.save(str(tmp_path / "theirs"))
    loaded = WALSModel.load(str(tmp_path / "theirs"))
    assert (loaded.uid, loaded.rank, loaded.getColdStartStrategy()) == (theirs.uid, 2, "drop")
    pairs = known.limit(20)
    difference = F.max(F.abs(F.col("a.prediction") - F.col("b.prediction")))
    joined = loaded.transform(pairs).alias("a").join(theirs.transform(pairs).alias("b"), ["user", "item"])
    assert joined.agg(difference).first()[0] < 1e-5
    with pytest.raises(ValueError, match="saved by MLlib"):
        loaded.foldIn(known)
    java = model.toMLlib()
    assert isinstance(java, ALSModel)
    ours, mllibs = (
        {user: [item for item, _ in best] for user, best in lists(m.recommendForAllUsers(3)).items()}
        for m in (model, java)
    )
    assert ours == mllibs


def test_errors_name_params_and_columns(spark):
    table = spark.createDataFrame([(0, 0, 1.0), (None, 1, 2.0)], COLUMNS)
    with pytest.raises(
        ValueError, match="itemCol = 'thing': there is no such column; the DataFrame has 'user', 'item'"
    ):
        WALS(itemCol="thing").fit(table)
    with pytest.raises(ValueError, match=r"1 x null user id.*set badRows = drop"):
        WALS().fit(table)
    assert WALS(badRows="drop", rank=1).fit(table).summary.counts["rows_dropped"] == 1
    with pytest.raises(ValueError, match="unobservedWeight: no meaning with implicitPrefs = False"):
        WALS(unobservedWeight=2.0).fit(table)
    with pytest.raises(ValueError, match="set duplicates to sum"):
        WALS(duplicates="refuse").fit(table.unionAll(table).dropna())
    with pytest.raises(TypeError, match="Could not convert"):
        WALS(rank="many")
    with pytest.raises(ValueError, match="at least 1 has to be asked for"):
        WALS(rank=1, badRows="drop").fit(table).recommendForAllUsers(0)


def test_beyond_mllib_params_reach_the_training(spark):
    rows = implicit_ratings(dislikes=False).training
    table = spark.createDataFrame([(u, i, r, 1.0 + (u % 3)) for u, i, r in rows], f"{COLUMNS}, w float")
    base = {"implicitPrefs": True, "rank": 2, "maxIter": 20, "regParam": 0.05}
    plain = WALS(**base).fit(table).summary
    stopped = WALS(**base, tol=0.01).fit(table).summary
    assert (stopped.stoppedBy, plain.stoppedBy) == ("tol", "maxIter")
    assert stopped.totalIterations < plain.totalIterations == 20
    for more in ({"weightCol": "w"}, {"unobservedWeight": 0.1}, {"relaxation": 1.5}, {"preset": "rendle"}):
        assert WALS(**base, **more).fit(table).summary.objectiveHistory != plain.objectiveHistory


def test_without_a_rating_column_every_row_is_a_one(spark):
    table = spark.createDataFrame([(0, 0), (0, 1), (1, 1)], "user int, item int")
    model = WALS(rank=1, maxIter=5, ratingCol="", regParam=0.001).fit(table)
    assert [row["prediction"] for row in model.transform(table).collect()] == pytest.approx([1, 1, 1], abs=0.05)


@pytest.mark.slow
def test_large_data_takes_the_other_way_to_the_same_model(spark):
    table = spark.createDataFrame(explicit_ratings(rank=3).training, COLUMNS).repartition(5).cache()
    table.count()  # Spark knows how many rows there are, and plans without a shuffle to one partition
    small = WALS(rank=3, maxIter=3).fit(table)
    blocks = WALS(rank=3, maxIter=3, numUserBlocks=3, numItemBlocks=2).fit(table)
    assert "check and build blocks" in small.summary.seconds
    assert "check and build blocks" not in blocks.summary.seconds
    for one, other in ((small.userFactors, blocks.userFactors), (small.itemFactors, blocks.itemFactors)):
        expected = by_id(one)
        assert by_id(other) == {i: pytest.approx(row, rel=1e-3, abs=1e-4) for i, row in expected.items()}
