from __future__ import annotations

from wals_spark.spark.plans import counted_rows


def test_the_rows_of_a_cached_table_are_known(spark):
    table = spark.range(1000).selectExpr("id user", "id % 10 item", "1d rating").cache()
    assert counted_rows(table) is None  # not yet
    table.count()
    try:
        assert counted_rows(table) == 1000
        assert counted_rows(table.selectExpr("item", "float(rating) rating")) == 1000
        for unknown in (table.where("user > 5"), table.union(table), table.join(table, "user")):
            assert counted_rows(unknown) is None
    finally:
        table.unpersist()
