from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from objectives import make_objective
from problems import assert_same_rows
from spark_blocks import blocks_of

from wals_spark.arrays.features import feature_column
from wals_spark.errors import ConfigError, InputError
from wals_spark.serving.fold_in import FoldIn
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.train import load_config
from wals_spark.solvers.gramian import gramian
from wals_spark.spark.model.factor_tables import gramian_of, write_factors
from wals_spark.spark.training.batch_fold_in import drop_unknown_items, fold_in_users, users_without_interactions


def factors(spark, ids, kind="int"):
    return spark.createDataFrame([(i, [1.0, float(n)]) for n, i in enumerate(ids)], f"id {kind}, features array<float>")


@pytest.mark.slow
def test_unknown_items_go_and_ids_of_another_width_are_the_same(spark):
    rows = [(1, 7, 1.0), (2**40, 7, 2.0), (1, 8, 3.0)]
    interactions = spark.createDataFrame(rows, "user bigint, item int, rating double")
    users, items = factors(spark, [1, 3]), factors(spark, [7, 9], "bigint")
    known = drop_unknown_items(interactions, users, items)
    assert sorted(map(tuple, known.collect())) == rows[:2]
    assert [(row.id, row.features) for row in users_without_interactions(users, known).collect()] == [(3, [1.0, 1.0])]


@pytest.mark.parametrize("kinds", [("string", "int"), ("int", "string")])
def test_text_ids_are_not_taken_for_the_models_integers(spark, kinds):
    interactions = spark.createDataFrame([], "user {}, item {}, rating double".format(*kinds))
    role = "user" if kinds[0] == "string" else "item"
    with pytest.raises(InputError, match=rf"input\.{role}: its ids are of type string, the model's of int; cast"):
        drop_unknown_items(interactions, factors(spark, [1]), factors(spark, [1]))


def test_users_are_solved_against_a_table_of_many_files(spark, tmp_path):
    rng = np.random.default_rng(0)
    ids, rows = np.arange(20, dtype=np.int32), rng.normal(size=(20, 3)).astype(np.float32)
    (tmp_path / "items").mkdir()
    for part in (ids[:7], ids[7:8], ids[8:]):
        table = pa.table({"id": part, "features": feature_column(rows[part])})
        pq.write_table(table, tmp_path / f"items/part-{part[0]}.parquet")
    users, items = rng.integers(5, size=40), rng.integers(19, size=40)  # nobody has item 19
    ratings = rng.integers(1, 6, size=40).astype(float)
    columns = (column.tolist() for column in (users, items, ratings))
    table = spark.createDataFrame(list(zip(*columns, strict=True)), "user int, item long, rating double")
    blocks = blocks_of(table, tmp_path / "w", {"train.user_blocks": 3, "train.item_blocks": 20})  # more than items
    objective = make_objective(reg_scaling="count")
    factors = fold_in_users(
        blocks, item_factors=str(tmp_path / "items"), item_weights=None, gramian=gramian(rows), objective=objective
    )
    write_factors(blocks.users, factors, str(tmp_path / "users"))
    found = pq.read_table(tmp_path / "users").sort_by("id")
    order = np.argsort(users, kind="stable")
    indptr = np.searchsorted(users[order], np.arange(6))
    expected = FoldIn(pa.array(ids), rows, gramian(rows), objective).fold_in_many(indptr, items[order], ratings[order])
    assert_same_rows(np.array(found["features"].to_pylist()), expected.vectors)


def test_the_gramian_of_a_table_is_that_of_all_its_rows(spark):
    rows, found = gramian_of(factors(spark, range(10)).repartition(3))
    assert rows == 10
    np.testing.assert_array_equal(found, [[10, 45], [45, 285]])


@pytest.mark.parametrize(
    ("settings", "trained", "message"),
    [
        (["input.path=a"], [], r"model\.path is not set"),
        (["model.path=m"], [], r"input\.path is not set: name the interactions to fold in"),
        (
            ["model.path=m", "input.path=a", "input.duplicates=max"],
            [],
            r"input\.duplicates: the model was trained with",
        ),
        (
            ["model.path=m", "input.path=a"],
            ["input.duplicates=last"],
            r"input\.duplicates = last needs input\.timestamp",
        ),
        (
            ["model.path=m", "input.path=a"],
            ["confidence.half_life_days=3"],
            r"input\.timestamp is not set: ratings decay",
        ),
    ],
)
def test_settings_that_cannot_be_the_models_are_refused(settings, trained, message):
    config = load_config(None, ["input.path=a", "output.path=b", "input.timestamp=at", *trained])
    with pytest.raises(ConfigError, match=message):
        config.as_trained(load_settings(FoldInSettings, None, settings).input)
