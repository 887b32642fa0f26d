from __future__ import annotations

import numpy as np
import oracle
import pyarrow as pa
import pytest
from log_lines import HEAVY_ROWS_OF_ITEMS, HEAVY_ROWS_OF_USERS
from objectives import make_confidence, make_objective, train_settings
from problems import assert_same_rows
from pyspark.sql import functions as F
from spark_blocks import blocks_of
from spark_training import (
    ITEMS,
    N_ITEMS,
    N_USERS,
    OBJECTIVE,
    RATINGS,
    USERS,
    by_id,
    counts_of,
    interactions,
    matrix,
    trained_on,
)

from wals_spark.errors import TrainingError
from wals_spark.local import blocks as local_blocks
from wals_spark.local import training as local_training
from wals_spark.settings.resolved import resolved
from wals_spark.settings.train import load_config
from wals_spark.solvers.start import Start, start_factors
from wals_spark.spark.training.recovery import train
from wals_spark.spark.training.state import Listeners


@pytest.mark.parametrize(("first_side", "heavy_row_threshold"), [("users", 0), ("items", 0), ("items", 7)])
def test_training_equals_the_dense_oracle_in_factors_and_loss(spark, tmp_path, first_side, heavy_row_threshold):
    settings = train_settings(
        rank=6, max_iter=3, user_blocks=3, item_blocks=2, first_side=first_side, seed=5, solver="cholesky",
        relaxation=1.7, heavy_row_threshold=heavy_row_threshold,
    )  # fmt: skip
    users, items, trained = trained_on(tmp_path, interactions(spark), settings)
    c, p, _ = oracle.dense((N_USERS, N_ITEMS), USERS, ITEMS, RATINGS, "log", 10.0, 1.0)
    penalties = np.full(N_USERS, 2.0), np.full(N_ITEMS, 2.0)
    x, y = (
        start_factors(pa.array(range(n)), Start(6, seed=5, scale=1.0, positive=False), side=side).astype(np.float64)
        for n, side in ((N_USERS, "users"), (N_ITEMS, "items"))
    )
    for event in trained.events:
        further = 1.7 if 2 < event.number < 6 else 1.0  # from the second iteration on, and not at the very end
        if event.side == "users":
            x = x + further * (oracle.solve(c, p, np.full(N_USERS, 2.0), y) - x)
        else:
            y = y + further * (oracle.solve(c.T, p.T, np.full(N_ITEMS, 2.0), x) - y)
        if event.number > 1:
            assert event.loss.total == pytest.approx(oracle.loss(c, p, x, y, penalties), rel=1e-6)
    np.testing.assert_allclose(matrix(users), x, rtol=1e-4, atol=1e-4 * np.abs(x).max())
    np.testing.assert_allclose(matrix(items), y, rtol=1e-4, atol=1e-4 * np.abs(y).max())
    final = oracle.loss(c, p, matrix(users), matrix(items), penalties)
    assert trained.events[-1].loss.total == pytest.approx(final, rel=1e-6)
    sides = {"users": ("users", "items"), "items": ("items", "users")}[first_side]
    assert [e.side for e in trained.events] == list(sides) * 3
    assert [e.number for e in trained.events] == [1, 2, 3, 4, 5, 6]
    assert {e.side: e.rows for e in trained.events} == {"users": N_USERS, "items": N_ITEMS}


@pytest.fixture(scope="module")
def in_one_block(_session, tmp_path_factory):
    """Both sides trained with one block per side."""
    settings = train_settings(rank=6, max_iter=2, user_blocks=1, item_blocks=1)
    return trained_on(tmp_path_factory.mktemp("one-block"), interactions(_session), settings)[:2]


@pytest.mark.parametrize(
    ("user_blocks", "item_blocks"),
    [(2, 26), *(pytest.param(n, n, marks=pytest.mark.slow) for n in (3, 7))],  # 26: more blocks than there are items
)
def test_the_factors_are_the_same_for_any_number_of_blocks(spark, tmp_path, in_one_block, user_blocks, item_blocks):
    settings = train_settings(rank=6, max_iter=2, user_blocks=user_blocks, item_blocks=item_blocks)
    sides = trained_on(tmp_path, interactions(spark), settings)[:2]
    for factors, reference in zip(sides, in_one_block, strict=True):
        scale = np.abs(matrix(reference)).max()
        np.testing.assert_allclose(matrix(factors), matrix(reference), rtol=1e-3, atol=1e-3 * scale)


def test_heavy_rows_give_the_same_model(spark, tmp_path, caplog):
    """Item 3 has all 60 users; more than ten items each has but some of the users."""
    caplog.set_level("INFO", "wals_spark")
    weights = []
    results = []
    for limit in (1000, 10):
        settings = train_settings(rank=6, max_iter=4, user_blocks=3, item_blocks=2, heavy_row_threshold=limit)
        blocks = blocks_of(interactions(spark), tmp_path / f"{limit}", counts_of(settings))
        objectives = {"users": OBJECTIVE, "items": OBJECTIVE}
        trained = train(blocks, objectives, settings, Listeners(on_weights=weights.append))
        results.append((matrix(by_id(blocks.users, trained.user_factors, 6)), trained.events[-1].loss.total))
        trained.unpersist()
        for line in (HEAVY_ROWS_OF_ITEMS, HEAVY_ROWS_OF_USERS):
            assert caplog.text.count(line) == (0 if limit == 1000 else 1)
    (users, loss), (users_of_heavy, loss_of_heavy) = results
    np.testing.assert_allclose(users_of_heavy, users, rtol=1e-3, atol=1e-3 * np.abs(users).max())
    assert loss_of_heavy == pytest.approx(loss, rel=1e-5)
    assert weights[0] == weights[1]  # the summary of weights counts the observations of heavy rows


def test_shuffled_input_gives_the_same_bits(spark, tmp_path):
    shuffled = interactions(spark).repartition(5).orderBy(F.rand(7))
    shuffled.write.parquet(str(tmp_path / "shuffled"))
    tables = [interactions(spark), interactions(spark), spark.read.parquet(str(tmp_path / "shuffled"))]
    results = [trained_on(tmp_path / f"{n}", table) for n, table in enumerate(tables)]
    for users, items, trained in results[1:]:
        np.testing.assert_array_equal(matrix(users), matrix(results[0][0]))
        np.testing.assert_array_equal(matrix(items), matrix(results[0][1]))
        assert [e.loss for e in trained.events] == [e.loss for e in results[0][2].events]


def test_training_stops_at_tol(spark, tmp_path):
    _, _, trained = trained_on(
        tmp_path,
        interactions(spark),
        train_settings(rank=6, max_iter=50, user_blocks=2, item_blocks=2, tol=0.05),
    )
    losses = [e.loss.total for e in trained.events]
    assert trained.stopped_by == "tol"
    assert 4 <= len(losses) < 100
    assert losses[-3] - losses[-1] < 0.05 * losses[-3]
    assert losses[-5] - losses[-3] >= 0.05 * losses[-5]


def test_more_factors_than_items_are_solved(spark, tmp_path):
    """Users, solved last, are the exact solution for the items; and the reported loss is that of the tables."""
    settings = train_settings(rank=40, max_iter=2, user_blocks=2, item_blocks=2)
    users, items, trained = trained_on(tmp_path, interactions(spark), settings)
    assert matrix(items).shape == (N_ITEMS, 40)
    c, p, _ = oracle.dense((N_USERS, N_ITEMS), USERS, ITEMS, RATINGS, "log", 10.0, 1.0)
    penalties = np.full(N_USERS, 2.0), np.full(N_ITEMS, 2.0)
    assert_same_rows(matrix(users), oracle.solve(c, p, penalties[0], matrix(items).astype(np.float64)))
    loss = oracle.loss(c, p, matrix(users), matrix(items), penalties)
    assert trained.events[-1].loss.total == pytest.approx(loss, rel=1e-6)


def test_a_row_without_a_solution_is_named(spark, tmp_path):
    table = spark.createDataFrame([("u", "zoë", 1.0)], "user string, item string, rating double")
    singular = make_objective(make_confidence("linear", 1.0), reg_param=0.0)
    settings = train_settings(rank=2, max_iter=1, user_blocks=1, item_blocks=1, solver="cholesky")
    with pytest.raises(TrainingError, match=r"half-iteration 1/2: item 'zoë' cannot be solved: .*singular.*reg_param"):
        trained_on(tmp_path, table, settings, singular)
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 0


def test_the_spark_ui_says_which_half_iteration_runs(spark, tmp_path):
    trained_on(tmp_path, interactions(spark))
    jobs = spark.sparkContext._jsc.sc().statusStore().jobsList(None)
    descriptions = {jobs.apply(n).description().toString() for n in range(jobs.size())}
    assert "Some(half-iteration 6/6: solve users)" in descriptions
    assert "Some(half-iteration 5/6: solve items)" in descriptions


@pytest.mark.parametrize(
    "settings",
    [
        ["confidence.item_weight=propensity", "train.biases=true"],
        ["train.preset=google-wals", "train.rank=6"],
        ["train.implicit=false", "train.biases=true", "train.global_mean=true"],
    ],
)
def test_weights_popularity_biases_and_mean_equal_the_local_loop(spark, tmp_path, settings):
    """Against the same functions without Spark, which a dense oracle judges."""
    common = ["input.path=a", "output.path=b", "train.max_iter=3", "train.user_blocks=3", "train.item_blocks=2"]
    config = load_config(None, [*common, *settings])
    weights = np.random.default_rng(2).choice([0.5, 1.0, 2.0], size=len(USERS))
    rows = zip(USERS.tolist(), ITEMS.tolist(), RATINGS.tolist(), weights.tolist(), strict=True)
    table = spark.createDataFrame(list(rows), "user long, item int, rating double, weight double")
    blocks = blocks_of(table, tmp_path, counts_of(config.train))
    chosen = resolved(config, blocks.counts)
    objectives = chosen.objectives(blocks.counts)
    assert blocks.counts.largest_item_count == N_USERS
    assert blocks.counts.ratings.mean == pytest.approx(RATINGS.mean())
    described = []
    trained = train(blocks, objectives, chosen.train, Listeners(on_weights=described.append))
    assert [histogram.size for histogram in described] == [len(USERS)]
    pairs = local_blocks.Interactions(USERS, ITEMS, RATINGS, weights=weights)
    expected = local_training.fit(pairs, config, user_blocks=2, item_blocks=2)
    for side, factors, rows_of in zip(
        (blocks.users, blocks.items), (trained.user_factors, trained.item_factors), expected[:2], strict=True
    ):
        size = np.abs(matrix(rows_of)).max()  # blocks differ, and three steps amplify the rounding of that
        actual = matrix(by_id(side, factors, chosen.train.width))
        np.testing.assert_allclose(actual, matrix(rows_of), rtol=1e-3, atol=1e-3 * size)
    trained.unpersist()


def test_a_listener_sees_factors_and_can_end_training(spark, tmp_path):
    blocks = blocks_of(interactions(spark), tmp_path, {"train.user_blocks": 3})
    objectives = {"users": OBJECTIVE, "items": OBJECTIVE}
    seen = {}

    def look(iteration, users, items):
        seen[iteration] = [
            matrix(by_id(side, factors, 6)) for side, factors in ((blocks.users, users), (blocks.items, items))
        ]
        if iteration == 2:
            raise ZeroDivisionError

    longer = train_settings(rank=6, max_iter=9, solver="cholesky", relaxation=1.0)
    with pytest.raises(ZeroDivisionError):
        train(blocks, objectives, longer, Listeners(on_iteration=look))
    assert not spark.sparkContext._jsc.getPersistentRDDs()
    short = train_settings(rank=6, max_iter=2, solver="cholesky", relaxation=1.0)
    done = train(blocks, objectives, short)
    for side, factors, looked in zip(
        (blocks.users, blocks.items), (done.user_factors, done.item_factors), seen[2], strict=True
    ):
        np.testing.assert_array_equal(matrix(by_id(side, factors, 6)), looked)
    done.unpersist()
    assert list(seen) == [1, 2]
