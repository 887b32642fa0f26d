"""What a notebook does: fit on a DataFrame, and what a model can do then."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

import wals_spark
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.spark.storage import Storage

NAMES = {"input.user": "listener", "input.item": "album", "input.rating": "plays"}
SETTINGS = {**NAMES, "train.rank": 4, "train.max_iter": 3}


def folder_of(model):
    return Path(urlparse(model.path).path)


def by_id(factors):
    rows = sorted((row["id"], row["features"]) for row in factors.collect())
    return [row_id for row_id, _ in rows], np.array([features for _, features in rows], dtype=np.float32)


@pytest.fixture(scope="module")
def rows():
    users, items, ratings = synthetic_ratings(3000, users=120, items=60, tastes=4, seed=1)
    columns = ([f"u{user}" for user in users], items.tolist(), ratings.tolist())
    pairs = list(zip(*columns, strict=True))
    return [pairs[n] for n in np.random.default_rng(0).permutation(len(pairs))]


def plays_on(spark, rows):
    return spark.createDataFrame(rows[:2500], "listener string, album long, plays float")


SCHEMA = "listener string, album long, plays float"


@pytest.fixture
def plays(spark, rows):
    return spark.createDataFrame(rows[:2500], SCHEMA)


@pytest.fixture
def held_out(spark, rows):
    return spark.createDataFrame(rows[2500:], SCHEMA)


@pytest.fixture(scope="module")
def model(_session, rows):
    """One for all tests of the file, which change nothing of it."""
    return wals_spark.fit(_session.createDataFrame(rows[:2500], SCHEMA), SETTINGS)


def test_a_model_recommends_and_is_evaluated(model, plays, held_out):
    known = {(row["listener"], row["album"]) for row in plays.collect()}
    rows = model.recommend(3, exclude=plays, options={"because": 2}).collect()
    assert {(row["user"], row["item"]) for row in rows}.isdisjoint(known)
    n_known = Counter(user for user, _ in known)
    assert Counter(row["user"] for row in rows) == dict.fromkeys(n_known, 3)
    assert all(
        {reason["item"] for reason in row["because"]} <= {i for u, i in known if u == row["user"]} for row in rows
    )
    evaluation = model.evaluate(held_out, plays, options={"k": [5], "metrics": ["ndcg"]})
    assert [entry["name"] for entry in evaluation.metrics] == ["ndcg"]
    assert 0 < evaluation.value("ndcg@5") < 1
    assert "popularity" in str(evaluation)


@pytest.mark.slow
def test_models_are_compared_on_the_users_that_both_have(model, plays, held_out, spark):
    users = [row["listener"] for row in plays.select("listener").distinct().orderBy("listener").collect()]
    absent = users[:3]
    other = wals_spark.fit(plays.where(~plays["listener"].isin(absent)), {**SETTINGS, "train.seed": 9})
    options = {"k": [5], "metrics": ["ndcg", "coverage"], "bootstrap": 50}
    compared = model.evaluate(held_out, plays, options=options, against=other)
    shared = held_out.where(~held_out["listener"].isin(absent))
    ours, theirs = (one.evaluate(shared, plays, options=options) for one in (model, other))
    ndcg, coverage = compared.metrics
    assert (ndcg["model"], ndcg["against"]) == (ours.value("ndcg@5"), theirs.value("ndcg@5"))
    assert ndcg["difference"] == pytest.approx(ours.value("ndcg@5") - theirs.value("ndcg@5"))
    assert ndcg["difference_low"] < ndcg["difference"] < ndcg["difference_high"]
    assert (coverage["difference_low"], coverage["against"]) == (None, theirs.value("coverage@5"))
    tested = {row["listener"] for row in held_out.select("listener").distinct().collect()}
    assert compared.counts["test_users_not_in_both"] == len(tested & set(absent)) > 0
    itself = model.evaluate(held_out, plays, options=options, against=model).metrics[0]
    assert (itself["difference_low"], itself["difference_high"]) == (0.0, 0.0)


def test_popularity_of_other_interactions_is_said_to_be(model, plays, held_out):
    options = {"k": [5], "metrics": ["ndcg"], "bootstrap": 0}
    assert model.evaluate(held_out, plays, options=options).caveats == []
    pairs = plays.where("album <> 3")
    (caveat,) = model.evaluate(held_out, pairs, options=options).caveats
    assert f"from the {pairs.select('listener', 'album').distinct().count():,} pairs of input.path" in caveat


def test_queries_and_candidates_are_tables_of_ids(model, spark):
    users, items = spark.createDataFrame([("u1",)], "listener string"), spark.createDataFrame([(2,), (5,)], "id long")
    rows = model.recommend(2, queries=users, candidates=items).collect()
    assert {(row["user"], row["item"]) for row in rows} == {("u1", 2), ("u1", 5)}
    rows = model.similar(1, queries=spark.createDataFrame([(2,)], "id long")).collect()
    assert [row["item"] for row in rows] == [2] != [row["similar_item"] for row in rows]


@pytest.mark.slow
def test_a_model_in_a_named_folder_is_the_temporary_one(model, spark, plays, tmp_path):
    in_one_block = {"train.user_blocks": 1, "train.item_blocks": 1}  # as one task trains small data
    config = wals_spark.Config.of({**SETTINGS, **in_one_block, "output.path": str(tmp_path), "output.version": "v"})
    stored = wals_spark.fit(plays, config)
    assert Storage(spark, str(tmp_path)).read_text("CURRENT") == "v\n"
    for one, other in ((model.user_factors, stored.user_factors), (model.item_factors, stored.item_factors)):
        (ids, factors), (other_ids, other_factors) = by_id(one), by_id(other)
        assert ids == other_ids
        np.testing.assert_array_equal(factors, other_factors)


def test_a_temporary_model_is_deleted_with_its_last_reference(plays):
    recommendations = wals_spark.fit(plays, SETTINGS).recommend(1)
    assert recommendations.count() > 0  # they keep what they read from
    temporary = wals_spark.fit(plays, SETTINGS)
    folder = folder_of(temporary)
    assert (folder / "manifest.json").exists()
    del temporary
    gc.collect()
    assert not folder.parents[1].exists()


def test_a_published_model_is_complete_and_served(model, spark, tmp_path):
    published = model.publish(str(tmp_path))
    served = wals_spark.Model.open(spark, str(tmp_path))
    assert (served.version, served.path) == (published.version, published.path)
    assert served.events == model.events
    assert len(served.events) == 6
    for name in ("user_factors", "item_factors"):
        np.testing.assert_array_equal(by_id(getattr(served, name))[1], by_id(getattr(model, name))[1])
    with pytest.raises(wals_spark.ConfigError, match="is a complete model and stays"):
        model.publish(str(tmp_path))


def test_new_users_fold_in_as_serving_folds_them_in(model, spark, tmp_path):
    new = spark.createDataFrame(
        [("new", 2, 3.0), ("new", 5, 1.0), ("new", 999, 1.0)], "listener string, album long, plays double"
    )
    folded = model.fold_in(new)
    assert folded.manifest["counts"]["rows_of_unknown_items"] == 1
    ids, rows = by_id(folded.user_factors)
    assert ids == ["new"]
    local = wals_spark.FoldIn.open(folder_of(folded)).fold_in([2, 5], [3.0, 1.0])
    np.testing.assert_allclose(rows[0], local, rtol=1e-4)
    kept = model.fold_in(new, keep_users=True)
    assert kept.user_factors.count() == model.user_factors.count() + 1


def test_the_session_is_left_as_it_was(model, spark, plays):
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    spark.conf.set(name, "1234")
    try:
        wals_spark.fit(plays, SETTINGS)
        assert spark.conf.get(name) == "1234"
    finally:
        spark.conf.set(name, before)


def test_wrong_settings_and_columns_are_refused(plays, model):
    with pytest.raises(wals_spark.ConfigError, match=r"unknown setting train\.rnk; did you mean rank"):
        wals_spark.fit(plays, {"train.rnk": 8})
    with pytest.raises(wals_spark.InputError, match=r"input\.user = 'user': there is no such .* 'listener', 'album'"):
        wals_spark.fit(plays)
    with pytest.raises(wals_spark.ConfigError, match="pass them as exclude"):
        model.recommend(3, options={"because": 2})


def test_importing_the_package_imports_no_pyspark():
    code = (
        "import sys; sys.modules['pyspark'] = None; import wals_spark; wals_spark.FoldIn, wals_spark.Config.of(); "
        "import wals_spark.local.training; print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr
