from __future__ import annotations

import numpy as np
import pytest

from wals_spark.config import load_config
from wals_spark.errors import ConfigError, InputError
from wals_spark.fold_in_settings import FoldInSettings
from wals_spark.settings import load_settings
from wals_spark.spark.publishing import gramian_of
from wals_spark.spark.refreshing import of_known_items, others


def factors(spark, ids, kind="int"):
    return spark.createDataFrame([(i, [1.0, float(n)]) for n, i in enumerate(ids)], f"id {kind}, features array<float>")


def test_interactions_of_unknown_items_go_and_ids_of_another_width_are_the_same_ids(spark):
    rows = [(1, 7, 1.0), (2**40, 7, 2.0), (1, 8, 3.0)]
    interactions = spark.createDataFrame(rows, "user bigint, item int, rating double")
    users, items = factors(spark, [1, 3]), factors(spark, [7, 9], "bigint")
    known = of_known_items(interactions, users, items)
    assert sorted(map(tuple, known.collect())) == rows[:2]
    assert [(row.id, row.features) for row in others(users, known).collect()] == [(3, [1.0, 1.0])]


@pytest.mark.parametrize("kinds", [("string", "int"), ("int", "string")])
def test_text_ids_are_not_taken_for_the_models_integers(spark, kinds):
    interactions = spark.createDataFrame([], "user {}, item {}, rating double".format(*kinds))
    role = "user" if kinds[0] == "string" else "item"
    with pytest.raises(InputError, match=rf"input\.{role}: its ids are of type string, the model's of int; cast"):
        of_known_items(interactions, factors(spark, [1]), factors(spark, [1]))


def test_the_gramian_of_a_table_is_that_of_all_its_rows(spark):
    rows, gramian = gramian_of(factors(spark, range(10)).repartition(3))
    assert rows == 10
    np.testing.assert_array_equal(gramian, [[10, 45], [45, 285]])


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
            r"input\.timestamp is not set: ratings fade",
        ),
    ],
)
def test_settings_that_cannot_be_the_models_are_refused(settings, trained, message):
    config = load_config(None, ["input.path=a", "output.path=b", "input.timestamp=at", *trained])
    with pytest.raises(ConfigError, match=message):
        load_settings(FoldInSettings, None, settings).input_as_trained(config)
