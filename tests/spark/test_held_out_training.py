"""Training that is evaluated on held-out interactions as it runs, and keeps its best iteration."""

from __future__ import annotations

import numpy as np
import pytest

import wals_spark
from wals_spark.errors import ConfigError, InputError
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.settings.train import Config
from wals_spark.spark.sample_evaluation import split_off
from wals_spark.spark.storage import REPORT

SCHEMA = "user string, item long, rating float"
OVERFITTING = {"train.rank": 32, "train.reg_param": 1e-4, "train.max_iter": 6, "held_out.users": 1000}


@pytest.fixture(scope="module")
def rows():
    users, items, ratings = synthetic_ratings(3000, users=120, items=60, tastes=4, seed=1)
    pairs = list(zip([f"u{user}" for user in users], items.tolist(), ratings.tolist(), strict=True))
    return [pairs[n] for n in np.random.default_rng(0).permutation(len(pairs))]


@pytest.fixture
def plays(spark, rows):
    return spark.createDataFrame(rows[:2500], SCHEMA)


@pytest.fixture
def held_out(spark, rows):
    """With a user and an item that training does not have, and pairs that it has."""
    return spark.createDataFrame([*rows[2500:], *rows[:50], ("nobody", 1, 1.0), ("u1", 10**6, 1.0)], SCHEMA)


def by_id(factors):
    rows = sorted((row["id"], row["features"]) for row in factors.collect())
    return np.array([features for _, features in rows])


def metrics_of(model):
    return [event.get("metric") for event in model.events]


def ndcg(model, test, training):
    evaluation = model.evaluate(test, training, options={"metrics": ["ndcg"], "k": [20], "bootstrap": 0})
    return evaluation.value("ndcg@20")


def test_the_last_metric_is_that_of_an_evaluation(plays, held_out):
    model = wals_spark.fit(plays, {"train.max_iter": 3, "held_out.users": 1000}, held_out=held_out)
    metrics = metrics_of(model)
    assert [value is not None for value in metrics] == [False, True] * 3
    assert metrics[-1] == pytest.approx(ndcg(model, held_out, plays), rel=1e-6)
    of = {"iteration": 3, "iterations": 3}
    assert model.manifest["held_out"] == {"metric": "ndcg@20", "value": metrics[-1], **of}
    page = model._stored.storage.read_text(model._stored.folder, REPORT)
    assert "ndcg@20 of held-out interactions" in page
    assert "The model is that of iteration 3 of 3" in page


@pytest.mark.parametrize("metric", ["rmse", pytest.param("mae", marks=pytest.mark.slow)])
def test_predicted_ratings_have_the_error_of_an_evaluation(plays, held_out, metric):
    explicit = {"train.implicit": False, "train.rank": 8, "train.max_iter": 4, "train.reg_param": 0.001}
    best = {"held_out.users": 1000, "train.keep": "best", "held_out.metric": "auto" if metric == "rmse" else metric}
    model = wals_spark.fit(plays, {**explicit, **best}, held_out=held_out)
    errors = [value for value in metrics_of(model) if value is not None]
    kept = model.manifest["held_out"]
    assert kept["metric"] == metric
    assert kept["iteration"] == np.argmin(errors) + 1
    assert kept["value"] == pytest.approx(model.evaluate(held_out, options={"metrics": [metric]}).value(metric))


@pytest.mark.slow
@pytest.mark.parametrize("first_side", ["items", "users"])
def test_the_best_iteration_is_the_model_of_so_many(plays, held_out, first_side):
    settings = {**OVERFITTING, "train.first_side": first_side, "train.user_blocks": 3}
    model = wals_spark.fit(plays, {**settings, "train.keep": "best"}, held_out=held_out)
    metrics = [value for value in metrics_of(model) if value is not None]
    best = int(np.argmax(metrics)) + 1
    assert best < len(metrics) == 6  # or the test would show nothing
    kept = model.manifest["held_out"]
    assert (kept["iteration"], kept["iterations"]) == (best, 6)
    shorter = wals_spark.fit(plays, {**settings, "train.max_iter": best}, held_out=held_out)
    for side in ("user_factors", "item_factors"):
        assert by_id(getattr(model, side)) == pytest.approx(by_id(getattr(shorter, side)), rel=1e-3, abs=1e-3)
    assert model.manifest["loss"]["total"] == pytest.approx(shorter.manifest["loss"]["total"], rel=1e-4)
    assert model.manifest["half_iterations"] == 2 * best
    assert kept["value"] == pytest.approx(ndcg(model, held_out, plays), rel=1e-6)


def test_every_other_iteration_is_evaluated_on_few_users(plays, held_out, caplog):
    settings = {"train.max_iter": 3, "train.evaluate_every": 2, "held_out.metric": "recall@5", "held_out.users": 20}
    with caplog.at_level("INFO", "wals_spark"):
        model = wals_spark.fit(plays, settings, held_out=held_out)
    assert [value is not None for value in metrics_of(model)] == [False, False, False, True, False, True]
    (line,) = [line for line in caplog.messages if "users with held-out interactions" in line]
    judged, left_out = (int(word) for word in line.split() if word.isdigit())
    assert judged + left_out == 20
    assert judged > 10


@pytest.mark.slow
def test_evaluation_does_not_change_the_model(plays, held_out):
    settings = {"train.max_iter": 2, "train.user_blocks": 1, "train.item_blocks": 1}  # as small data alone has them
    plain, evaluated = (wals_spark.fit(plays, settings, held_out=table) for table in (None, held_out))
    assert np.array_equal(by_id(plain.user_factors), by_id(evaluated.user_factors))
    assert "held_out" not in plain.manifest


def test_a_share_is_held_out_with_all_rows_of_a_pair(plays):
    config = Config.of({"held_out.share": 0.2})
    twice = plays.union(plays)
    split = split_off(twice, config)
    trained, held = (
        {(row["user"], row["item"]) for row in table.collect()} for table in (split.training, split.held_out)
    )
    assert not trained & held
    assert len(held) / 2500 == pytest.approx(0.2, abs=0.03)
    assert split.training.count() + split.held_out.count() == 5000
    model = wals_spark.fit(twice, {"train.max_iter": 1, "held_out.share": 0.2})
    assert model.manifest["counts"]["observations"] == len(trained)
    assert model.manifest["held_out"]["value"] > 0


def test_rows_without_an_id_are_not_held_out(spark):
    table = spark.createDataFrame([(None, 1, 1.0), ("u", None, 1.0)] * 50, SCHEMA)
    split = split_off(table, Config.of({"held_out.share": 0.99}))
    assert split.held_out.count() == 0


def test_settings_that_contradict_what_is_held_out_are_refused(plays, held_out):
    with pytest.raises(ConfigError, match=r"held_out\.share: interactions are held out already"):
        wals_spark.fit(plays, {"held_out.share": 0.1}, held_out=held_out)
    with pytest.raises(ConfigError, match=r"train\.keep = best: by which interactions\?"):
        wals_spark.fit(plays, {"train.keep": "best"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([("nobody", 1, 1.0)], "none of the 1 users drawn can be evaluated: they are not in the training interactions"),
        ([("u1", None, 1.0)], "held_out cannot be used"),
    ],
)
def test_held_out_interactions_that_cannot_be_used(spark, plays, table, message):
    with pytest.raises(InputError, match=message):
        wals_spark.fit(plays, {"train.max_iter": 1}, held_out=spark.createDataFrame(table, SCHEMA))


def test_a_held_out_part_that_is_in_training_is_refused(plays):
    with pytest.raises(InputError, match=r"can be evaluated: .*, or what they hold out is there"):
        wals_spark.fit(plays, {"train.max_iter": 1}, held_out=plays.limit(50))


def test_ids_of_another_type_are_refused(spark, plays):
    numbers = spark.createDataFrame([(1, 1, 1.0)], "user long, item long, rating float")
    with pytest.raises(InputError, match=r"held_out.user: ids are of type bigint, those of the model of type string"):
        wals_spark.fit(plays, {"train.max_iter": 1}, held_out=numbers)
