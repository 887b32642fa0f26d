from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import wals_spark.spark.item_table as item_table_module
from wals_spark.errors import InputError
from wals_spark.spark.histories import histories, in_type_of, partitions, with_histories
from wals_spark.spark.item_table import item_table

IDS = {"string": ["ä", "b", "", "日本", "0"], "bigint": [3, -1, 2**63 - 1, 0, 7]}


def factors_of(spark, ids, id_type):
    rows = [(i, [float(n), 0.5, -9.0]) for n, i in enumerate(ids)]
    return spark.createDataFrame(rows, f"id {id_type}, features array<float>").repartition(3)


def as_seen_by_a_task(table, ids):
    """On an executor: ids and features as bytes, whether they are mapped, and the positions of some ids and lists."""

    def look(_):
        opened = table.opened()
        lists = opened.lists(pa.array([[ids[1], ids[0], ids[1]], None, [], [ids[0]]], type=pa.list_(opened.ids.type)))
        again = table.opened() is opened
        yield opened.ids.to_pylist(), opened.features.tolist(), again, opened.positions(pa.array(ids)).tolist(), lists

    return look


@pytest.mark.parametrize("bytes_per_sort", [item_table_module._BYTES_PER_SORT, 0])
@pytest.mark.parametrize("id_type", list(IDS))
def test_a_task_sees_rows_sorted_by_id(spark, monkeypatch, id_type, bytes_per_sort):
    monkeypatch.setattr(item_table_module, "_BYTES_PER_SORT", bytes_per_sort)
    ids = IDS[id_type]
    table = item_table(factors_of(spark, ids, id_type), width=2)
    (found, features, again, positions, lists) = (
        spark.sparkContext.parallelize([0], 1).mapPartitions(as_seen_by_a_task(table, ids)).first()
    )
    expected = sorted(ids, key=lambda i: i.encode() if id_type == "string" else i)
    assert (table.rows, found, again) == (5, expected, True)
    assert features == [[float(ids.index(i)), 0.5] for i in expected]
    assert positions == [expected.index(i) for i in ids]
    assert lists.positions.tolist() == [*sorted((positions[0], positions[1])), positions[0]]
    assert lists.indptr.tolist() == [0, 2, 2, 2, 3]


def test_rows_of_unit_length_are_cosines_and_zeros_stay(spark):
    factors = spark.createDataFrame([(1, [3.0, 4.0, 9.0]), (2, [0.0, 0.0, 1.0])], "id int, features array<float>")
    table = item_table(factors, width=2, unit_length=True)
    rows = spark.sparkContext.parallelize([0], 1).map(lambda _: table.opened().features.tolist()).first()
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-7)
    assert item_table(factors.where("id > 5"), width=2).rows == 0


def test_histories_are_arrays_beside_their_queries(spark):
    pairs = spark.createDataFrame(
        [("a", 1, 2.0), ("a", 5, 3.0), ("c", 1, 4.0), ("x", 9, 1.0)], "user string, item long, rating double"
    )
    queries = spark.createDataFrame([("a",), ("b",), ("c",)], "id string")
    gathered = histories(pairs, n_partitions=3)
    rows = with_histories(queries, gathered, n_partitions=3).orderBy("id").collect()
    assert sorted(zip(rows[0]["item"], rows[0]["rating"], strict=True)) == [(1, 2.0), (5, 3.0)]
    assert [(r["id"], r["item"], r["rating"]) for r in rows[1:]] == [("b", None, None), ("c", [1], [4.0])]


def test_ids_beyond_the_models_type_are_left_out_or_refused(spark):
    factors = factors_of(spark, [1, 2], "int")
    table = spark.createDataFrame([(1,), (2**40,)], "user long")
    assert in_type_of(table, "user", factors, setting="input.user").collect() == [(1,)]
    with pytest.raises(InputError, match=r"input\.user: ids are of type string, those of the model of type int"):
        in_type_of(table.withColumn("user", F.lit("1")), "user", factors, setting="input.user")


def test_there_is_a_task_for_each_core_and_more_for_much_work():
    assert partitions(10, 10, cores=2) == 2
    assert partitions(1_000_000, 100_000, cores=2) > 10
