from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from chispa import assert_df_equality
from objectives import make_decay
from pyspark.sql import functions as F

from wals_spark.blocks.assignment import N_BUCKETS, bucket_of
from wals_spark.errors import InputError
from wals_spark.settings.tables import Input
from wals_spark.spark.checking import check
from wals_spark.spark.reading import read

GOOD = [("ann", "i1", 2.0), ("bob", "i2", 0.5)]
SCHEMA = "user string, item string, rating double"


def settings(**changes):
    return Input(**{"path": "somewhere", **changes})


@pytest.mark.parametrize("file_format", ["parquet", "json", "orc", "csv"])
def test_any_format_of_spark_is_read(spark, tmp_path, file_format):
    path = str(tmp_path / "interactions")
    spark.createDataFrame(GOOD, SCHEMA).write.format(file_format).options(header="true").save(path)
    chosen = settings(path=path, format=file_format, options={"header": "true"} if file_format == "csv" else {})
    checked = check(read(spark, chosen), chosen)
    assert_df_equality(checked.table, spark.createDataFrame(GOOD, SCHEMA), ignore_row_order=True, ignore_nullable=True)
    assert (checked.rows, checked.dropped) == (2, 0)


def test_a_catalog_table_is_read(spark):
    spark.createDataFrame(GOOD, SCHEMA).createOrReplaceTempView("interactions")
    chosen = settings(path="interactions", format="table")
    assert check(read(spark, chosen), chosen).rows == 2


@pytest.mark.parametrize(
    ("path", "file_format"),
    [("/nowhere/at/all", "parquet"), ("nosuch_table", "table"), ("x", "nosuchformat"), ("nofs://a/b", "csv")],
)
def test_what_is_not_there_is_refused_by_name(spark, path, file_format):
    with pytest.raises(InputError, match=rf"input\.path = '{path}' \(format {file_format}\) cannot be read") as refused:
        read(spark, settings(path=path, format=file_format))
    assert refused.value.exit_code == 3
    assert "\n" not in str(refused.value)


def test_a_file_that_is_broken_is_refused_by_name(spark, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    spark.createDataFrame(GOOD, SCHEMA).coalesce(1).write.parquet(str(whole))
    broken.mkdir()
    for part in whole.glob("*.parquet"):
        content = part.read_bytes()
        (broken / part.name).write_bytes(content[:40] + bytes(100) + content[140:])  # its pages, not its footer
        (tmp_path / "text.parquet").write_text("this is no Parquet file")
    with pytest.raises(InputError, match="cannot be read"):
        read(spark, settings(path=str(tmp_path / "text.parquet")))
    with pytest.raises(InputError, match="cannot be read"):
        check(read(spark, settings(path=str(broken))), settings())


def test_own_column_names_are_used_even_strange_ones(spark):
    table = spark.createDataFrame([("ann", 7, "3.2466e+05")], ["who.is", "it`em", "how many"])
    chosen = settings(user="who.is", item="it`em", rating="how many")
    row = check(table, chosen).table.collect()[0]
    assert row.asDict() == {"user": "ann", "item": 7, "rating": 324660.0}


def test_without_a_rating_column_every_row_counts_one(spark):
    chosen = settings(rating="")
    table = check(spark.createDataFrame([("ann", "i1")], "user string, item string"), chosen).table
    assert table.collect()[0]["rating"] == 1.0


@pytest.mark.parametrize(
    ("role", "columns"), [("user", "item string, rating double"), ("rating", "user string, item string")]
)
def test_a_missing_column_is_refused_with_those_there_are(spark, role, columns):
    with pytest.raises(InputError, match=rf"input\.{role} = '{role}': there is no such column; the input has"):
        check(spark.createDataFrame([], columns), settings())


@pytest.mark.parametrize("kind", ["date", "array<int>", "boolean"])
def test_ids_that_are_neither_text_nor_numbers_are_refused(spark, kind):
    table = spark.createDataFrame(GOOD, SCHEMA).withColumn("user", F.lit(None).cast(kind))
    with pytest.raises(InputError, match=r"input\.user = 'user' is of type .*ids are text or whole numbers"):
        check(table, settings())


BAD = [
    (None, "i1", "1"),
    ("", "i1", "1"),
    ("ann", None, "1"),
    ("ann", "", "1"),
    ("ann", "i1", None),
    ("ann", "i1", "many"),
    ("ann", "i1", "NaN"),
    ("ann", "i1", "-Infinity"),
    ("ann", "i1", "1e39"),
    ("ann", "i1", "1e-39"),
    ("ann", "i1", "0"),
    ("ann", "i1", "-2"),
]


def test_bad_rows_are_refused_with_counts_by_reason_and_examples(spark):
    rows = BAD + [("u", "i", "0")] * 20 + [("good", "i1", "1")]
    table = spark.createDataFrame(rows, "user string, item string, rating string")
    with pytest.raises(InputError) as refused:
        check(table, settings())
    message = str(refused.value)
    assert message.startswith("32 of 33 rows of input.path = 'somewhere' cannot be used: ")
    for reason in (
        "1 x null user id, such as (None, 'i1', '1')",
        "1 x empty user id, such as ('', 'i1', '1')",
        "1 x null item id",
        "1 x empty item id",
        "2 x rating null or not a number",
        "2 x rating not finite",
        "2 x rating beyond the range of float32",
        "22 x rating zero or below (see input.nonpositive), such as ",
    ):
        assert reason in message
    assert message.count("('u', 'i', '0')") + message.count("('ann', 'i1', '0')") <= 5


def test_bad_rows_are_dropped_and_counted_where_asked(spark, caplog):
    table = spark.createDataFrame([*BAD, ("good", "i1", "1")], "user string, item string, rating string")
    checked = check(table, settings(bad_rows="drop"))
    assert (checked.rows, checked.dropped) == (1, 12)
    assert [row["user"] for row in checked.table.collect()] == ["good"]
    assert "dropped 12 bad rows: 1 x empty item id" in caplog.text


@pytest.mark.parametrize(("meaning", "kept"), [("unobserved", [1.0]), ("impression", [-2.0, 0.0, 1.0])])
def test_zero_and_negative_ratings_mean_what_the_settings_say(spark, meaning, kept):
    table = spark.createDataFrame([("a", "i", 0.0), ("b", "i", -2.0), ("c", "i", 1.0)], SCHEMA)
    checked = check(table, settings(nonpositive=meaning))
    assert sorted(row["rating"] for row in checked.table.collect()) == kept
    assert checked.dropped == 3 - len(kept)


def test_empty_input_and_nothing_left_are_refused(spark):
    with pytest.raises(InputError, match="holds no rows"):
        check(spark.createDataFrame([], SCHEMA), settings())
    with pytest.raises(InputError, match=r"nothing is left of .* after dropping 1 rows"):
        check(spark.createDataFrame([("", "i", 1.0)], SCHEMA), settings(bad_rows="drop"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("timestamp", "1970-01-02 00:00:00"), ("date", "1970-01-02"), ("string", "86400"), ("bigint", "86400")],
)
def test_times_come_as_timestamps_dates_or_numbers(spark, kind, value):
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    table = spark.createDataFrame([("a", "i", 1.0, value)], f"{SCHEMA}, at string")
    table = table.withColumn("at", F.col("at").cast(kind))
    chosen = settings(duplicates="last", timestamp="at", earliest_time="1970-01-01")
    assert check(table, chosen).table.collect()[0]["timestamp"] == 86400.0


def test_text_that_is_a_time_is_read_and_other_text_is_a_bad_row(spark):
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    chosen = settings(duplicates="last", timestamp="at", earliest_time="1970-01-01")
    rows = [("a", "i", 1.0, "1970-01-02T00:00:00Z"), ("b", "i", 1.0, "yesterday")]
    table = spark.createDataFrame(rows, f"{SCHEMA}, at string")
    assert check(table.limit(1), chosen).table.collect()[0]["timestamp"] == 86400.0
    with pytest.raises(InputError, match="1 x no timestamp"):
        check(table, chosen)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (make_decay(10.0), [8.0, 4.0, 1.0]),  # from the newest event
        (make_decay(10.0, floor=0.25), [8.0, 4.0, 2.0]),
        (make_decay(10.0, reference=20 * 86400.0), [8.0, 8.0, 2.0]),  # an event after the reference does not grow
    ],
)
def test_ratings_fade_with_age_from_a_stated_moment(spark, decay, expected):
    rows = [("a", "i", 8.0, 30 * 86400.0), ("b", "i", 8.0, 20 * 86400.0), ("c", "i", 8.0, 0.0)]
    table = spark.createDataFrame(rows, f"{SCHEMA}, at double")
    checked = check(table, settings(timestamp="at", earliest_time="1970-01-01"), decay=decay)
    assert checked.table.columns == ["user", "item", "rating"]
    assert [row["rating"] for row in checked.table.orderBy("user").collect()] == pytest.approx(expected)


def test_the_oldest_event_is_still_positive_as_a_float32(spark):
    rows = [("a", "i", 1.0, 1e9), ("b", "i", 1.0, 0.0)]
    events = spark.createDataFrame(rows, f"{SCHEMA}, at double")
    checked = check(events, settings(timestamp="at", earliest_time="1970-01-01"), decay=make_decay(1.0))
    assert min(np.float32(row["rating"]) for row in checked.table.collect()) > 0


def test_explicit_ratings_may_be_zero_or_negative(spark):
    table = spark.createDataFrame([("a", "i", 0.0), ("b", "i", -2.0)], SCHEMA)
    assert check(table, settings(), implicit=False).rows == 2


def test_weights_are_checked_like_ratings_and_may_be_zero(spark):
    rows = [("ann", "i1", 2.0, w) for w in (0.0, 1.5, None, float("nan"), -1.0, 1e39)]
    raw = spark.createDataFrame(rows, f"{SCHEMA}, w double")
    with pytest.raises(InputError, match=r"4 of 6 rows .* weight below zero.*weight beyond.*weight not f.*weight null"):
        check(raw, settings(weight="w"))
    checked = check(raw, settings(weight="w", bad_rows="drop"))
    assert sorted(row["weight"] for row in checked.table.collect()) == [0.0, 1.5]
    with pytest.raises(InputError, match=r"input\.weight = 'v': there is no such column"):
        check(raw, settings(weight="v"))


def test_impressions_are_rows_like_any_other(spark):
    raw = spark.createDataFrame([*GOOD, ("ann", "i2", 0.0), ("bob", "i1", -1.0)], SCHEMA)
    assert check(raw, settings(nonpositive="impression")).rows == 4


@pytest.mark.parametrize(
    ("items", "kind"), [(["ü", "i7", "i7", "日本"], "string"), ([-5, 0, 2**62, 0], "long"), ([-128, 7, 7, 7], "byte")]
)
def test_rows_are_counted_by_the_buckets_of_executors(spark, items, kind):
    raw = spark.createDataFrame([("u", item, 1.0) for item in items], f"user string, item {kind}, rating double")
    counted = check(raw, settings()).item_costs
    np.testing.assert_array_equal(counted, np.bincount(bucket_of(pa.array(items)), minlength=N_BUCKETS))
