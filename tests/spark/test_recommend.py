from __future__ import annotations

import numpy as np
import pytest

from wals_spark.errors import InputError
from wals_spark.ranking.modes import MODES
from wals_spark.ranking.top_k import top_k
from wals_spark.settings.tables import Ids
from wals_spark.spark.histories import beside, gathered_beside
from wals_spark.spark.item_table import item_table
from wals_spark.spark.model.open import open_version
from wals_spark.spark.reading import read_ids
from wals_spark.spark.recommend import candidates, popularity, rank, refuse_small_catalogue, select_queries
from wals_spark.spark.recommend_tasks import RankTask


@pytest.fixture
def model(spark):
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(30, 8)).astype(np.float32)

    def table(rows):
        return spark.createDataFrame(
            [(n * 3, row.tolist()) for n, row in enumerate(rows)], "id long, features array<float>"
        )

    return users, items, table(users), table(items)


def test_users_for_items_are_items_for_users_turned_round(spark, model):
    users, items, user_factors, item_factors = model
    seen = spark.createDataFrame([(0, 3), (9, 3), (3, 0)], "user long, item long")
    task = RankTask(item_table(user_factors, width=8), 5, MODES["users"])
    rows = rank(item_factors, task, n_queries=30, pairs=seen)
    assert rows.columns == ["item", "rank", "user", "score"]
    expected = top_k(items, users, 7).positions * 3
    left_out = {3: {0, 9}, 0: {3}}
    recommended = {(row["item"], row["rank"]): row["user"] for row in rows.collect()}
    for item in range(30):
        best = [user for user in expected[item] if user not in left_out.get(item * 3, ())][:5]
        assert [recommended[item * 3, rank] for rank in range(1, 6)] == best


def test_histories_reach_their_own_queries_in_any_partitioning(spark):
    queries = spark.createDataFrame([(u, [float(u)]) for u in range(0, 40, 2)], "id long, features array<float>")
    rng = np.random.default_rng(1)
    rows = [(int(u), f"i{n}", float(n)) for n, u in enumerate(rng.integers(30, size=300))]  # half of them no query's
    pairs = spark.createDataFrame(rows, "user long, item string, rating double")
    for n_partitions in (1, 3, 50):
        together = beside(queries, pairs, by="user", n_partitions=n_partitions)
        schema = "id long, features array<float>, item array<string>, rating array<double>"
        found = together.mapInArrow(gathered_beside, schema).collect()
        assert sorted(row["id"] for row in found) == list(range(0, 40, 2))
        for row in found:
            assert row["features"] == [row["id"]]
            own = sorted((item, rating) for user, item, rating in rows if user == row["id"])
            assert sorted(zip(row["item"], row["rating"], strict=True)) == own
    assert any(row["item"] == [] for row in found)


def test_candidates_are_allowed_not_blocked_and_enough(spark, model):
    *_, item_factors = model
    allowed, blocked = (spark.createDataFrame([(i,) for i in some], "id long") for some in ([0, 3, 6, 1], [6, 9]))
    ids = [row["id"] for row in candidates(item_factors, allowed=allowed, blocked=blocked).collect()]
    assert sorted(ids) == [0, 3]
    refuse_small_catalogue(2, 2, "item")
    with pytest.raises(InputError, match=r"recommend\.k = 3, but there are 2 items to recommend"):
        refuse_small_catalogue(2, 3, "item")


def test_ids_are_read_once_each_and_those_asked_for_counted(spark, model, tmp_path):
    _, _, user_factors, _ = model
    spark.createDataFrame([("6",), ("6",), (None,), ("7",), ("99",)], "who string").write.csv(str(tmp_path / "ids"))
    columns = Ids(path=str(tmp_path / "ids"), format="csv", column="_c0")
    with pytest.raises(
        InputError, match=r"queries\.column = '_c0': ids are of type string, those of the model of type bigint"
    ):
        read_ids(spark, columns, user_factors, section="queries")
    columns = Ids(path=str(tmp_path / "ids"), format="csv", column="_c0", options={"inferSchema": "true"})
    selected = select_queries(user_factors, read_ids(spark, columns, user_factors, section="queries"))
    assert (selected.known, selected.unknown) == (2, 1)
    assert [row["id"] for row in selected.queries.collect()] == [6, 99]
    with pytest.raises(InputError, match=r"queries\.column = 'id': there is no such column; the input has '_c0'"):
        read_ids(spark, Ids(path=columns.path, format="csv"), user_factors, section="queries")


def test_popularity_counts_users_of_distinct_pairs(spark, model):
    *_, item_factors = model
    pairs = spark.createDataFrame([(1, 3), (1, 3), (2, 3), (2, 99)], "user long, item long")
    counts = {row["id"]: row["features"] for row in popularity(pairs, item_factors).collect()}
    assert counts[3] == [2.0]
    assert counts[0] == [0.0]
    assert 99 not in counts


def test_a_folder_without_a_manifest_is_no_model(spark, tmp_path):
    (tmp_path / "versions/v1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"versions/v1 holds no manifest\.json, so it is no complete model"):
        open_version(spark, str(tmp_path), "v1")
