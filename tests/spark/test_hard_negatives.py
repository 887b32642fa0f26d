"""Negatives: what is drawn, and that training takes it as unobserved pairs that weigh more."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pyspark.sql import functions as F

import wals_spark
from wals_spark.errors import InputError
from wals_spark.local.blocks import Interactions as LocalInteractions
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.local.training import fit as local_fit
from wals_spark.settings.tables import Input
from wals_spark.settings.train import Config
from wals_spark.settings.training import POPULARITY, Negatives
from wals_spark.spark.checking import check
from wals_spark.spark.hard_negatives import with_negatives

SCHEMA = "user string, item long, rating float"
SETTINGS = {"train.rank": 8, "train.max_iter": 3}


@pytest.fixture(scope="module")
def rows():
    users, items, ratings = synthetic_ratings(1500, users=80, items=50, tastes=4, seed=1)
    return list(zip([f"u{user}" for user in users], items.tolist(), ratings.tolist(), strict=True))


@pytest.fixture(scope="module")
def model(_session, rows):
    """It has a user and an item that the interactions of the tests do not have."""
    table = _session.createDataFrame([*rows, ("gone", 1, 1.0), ("u1", 999, 50.0)], SCHEMA)
    return wals_spark.fit(table, SETTINGS)


@pytest.fixture
def published(model, tmp_path):
    return model.publish(str(tmp_path / "model"))


@pytest.fixture
def plays(spark, rows):
    return spark.createDataFrame(rows, SCHEMA)


def root_of(published):
    return published.path.rpartition("/versions/")[0]


def drawn(plays, settings, path, source=None):
    """The interactions with negatives, and the items of the negatives by user."""
    interactions = check(plays, source or Input())
    more = with_negatives(interactions, settings, str(path / "negatives"))
    added = more.table.where("rating = 0").collect()
    assert len(added) == more.negatives == more.rows - interactions.rows
    by_user = {}
    for row in added:
        by_user.setdefault(row["user"], []).append(row["item"])
    return more, by_user


def test_hard_negatives_are_the_best_unseen_items(published, plays, rows, tmp_path):
    settings = Negatives(per_user=4, from_=root_of(published))
    _, by_user = drawn(plays, settings, tmp_path)
    users, items = (
        {row["id"]: np.array(row["features"]) for row in factors.collect()}
        for factors in (published.user_factors, published.item_factors)
    )
    seen = {(user, item) for user, item, _ in rows}
    known = {item for _, item, _ in rows}
    for user in {user for user, _, _ in rows}:
        unseen = [item for item in known if (user, item) not in seen]
        expected = sorted(unseen, key=lambda item: -users[user] @ items[item])[:4]
        assert set(by_user.get(user, ())) == set(expected)


def test_popular_negatives_are_drawn_in_proportion_to_users(plays, rows, tmp_path):
    _, by_user = drawn(plays, Negatives(per_user=30, from_=POPULARITY), tmp_path)
    seen = {(user, item) for user, item, _ in rows}
    assert not [pair for user, items in by_user.items() for pair in ((user, item) for item in items) if pair in seen]
    assert all(len(items) == len(set(items)) for items in by_user.values())
    times = Counter(item for items in by_user.values() for item in items)
    users = Counter(item for _, item in seen)
    unseen_users = {item: 80 - n for item, n in users.items()}  # an item can be a negative of these alone
    share = [times[item] / max(1, unseen_users[item]) for item in users]
    assert np.corrcoef(share, list(users.values()))[0, 1] > 0.8


def test_a_draw_is_a_function_of_the_seed(plays, tmp_path):
    first, again, other = (
        drawn(plays.repartition(n), Negatives(per_user=5, from_=POPULARITY, seed=seed), tmp_path / str(n))[1]
        for n, seed in ((1, 0), (3, 0), (2, 1))
    )
    assert {user: sorted(items) for user, items in first.items()} == {u: sorted(items) for u, items in again.items()}
    assert first != other


def test_negatives_have_all_columns_and_are_counted_as_rows_are(published, plays, tmp_path):
    timed = plays.withColumn("weight", F.lit(2.0)).withColumn("at", F.lit(1.7e9))
    source = Input(weight="weight", timestamp="at", duplicates="last")
    settings = Negatives(per_user=3, from_=(root_of(published), POPULARITY))
    more, _ = drawn(timed, settings, tmp_path, source)
    counted = more.with_rows(more.table)
    assert (counted.rows, counted.fingerprint) == (more.rows, more.fingerprint)
    assert np.array_equal(counted.item_costs, more.item_costs)


@pytest.mark.slow
def test_training_takes_negatives_as_rows_of_weight_and_target_0(published, plays, rows, tmp_path):
    settings = {**SETTINGS, "train.solver": "cholesky"}
    negatives = {"train.negatives.per_user": 4, "train.negatives.from": root_of(published)}
    plain = wals_spark.fit(plays, settings)
    trained = wals_spark.fit(plays, {**settings, **negatives})
    counts = trained.manifest["counts"]
    assert 300 < counts["negatives"] <= 4 * 80  # some users have seen all items but a few
    assert {**counts, "negatives": 0} == {**plain.manifest["counts"], "negatives": 0}
    chosen, chosen_plain = trained.manifest["settings"]["train"], plain.manifest["settings"]["train"]
    assert {**chosen, "negatives": None} == {
        **chosen_plain,
        "negatives": None,
    }  # automatic values are those of the data

    _, by_user = drawn(plays, Negatives(per_user=4, from_=root_of(published)), tmp_path)
    added = [(user, item, 0.0) for user, items in by_user.items() for item in items]
    columns = (np.array(column) for column in zip(*rows, *added, strict=True))
    config = Config.of({
        **{f"train.{name}": chosen[name] for name in ("rank", "max_iter", "solver", "unobserved_weight", "reg_param")},
        **{f"confidence.{name}": trained.manifest["settings"]["confidence"][name] for name in ("alpha", "epsilon")},
        "input.nonpositive": "impression", "confidence.impression_weight": chosen["unobserved_weight"],
    })  # fmt: skip
    expected = local_fit(LocalInteractions(*columns), config)
    assert trained.manifest["loss"]["total"] == pytest.approx(expected.losses[-1].total, rel=1e-5)
    for row in trained.item_factors.collect():
        assert row["features"] == pytest.approx(expected.items[row["id"]].tolist(), abs=1e-3)


@pytest.mark.slow
def test_negatives_are_candidates_in_an_evaluation(published, spark, plays, rows):
    held_out = spark.createDataFrame([(user, (item + 1) % 50, 1.0) for user, item, _ in rows[::7]], SCHEMA)
    negatives = {"train.negatives.per_user": 4, "train.negatives.from": root_of(published)}
    model = wals_spark.fit(plays, {**SETTINGS, **negatives, "held_out.users": 100}, held_out=held_out)
    evaluation = model.evaluate(held_out, plays, options={"metrics": ["ndcg"], "k": [20], "bootstrap": 0})
    assert model.manifest["held_out"]["value"] == pytest.approx(evaluation.value("ndcg@20"), rel=1e-6)
    assert "input_pairs_not_trained_on" not in evaluation.counts


def test_a_source_without_a_model_is_refused(plays, tmp_path):
    settings = {**SETTINGS, "train.negatives.per_user": 4, "train.negatives.from": str(tmp_path / "nowhere")}
    with pytest.raises(InputError, match=r"train\.negatives\.from"):
        wals_spark.fit(plays, settings)
