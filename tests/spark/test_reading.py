from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F
from small_inputs import CSV, checked_rows, parquet, refusal, written

from wals_spark.errors import ConfigError, InputError
from wals_spark.settings.tables import Input
from wals_spark.spark.checking import check
from wals_spark.spark.reading import read


@pytest.mark.parametrize(
    ("mark", "name"), [("_delta_log/0.json", "Delta"), ("metadata/v1.metadata.json", "Iceberg"), (".hoodie/x", "Hudi")]
)
@pytest.mark.parametrize("below", ["", "dt=1", "dt=1/*.parquet"])
def test_a_table_of_another_format_is_refused(spark, tmp_path, mark, name, below):
    parquet(tmp_path, "plays/dt=1/part.parquet", user=["u"], item=["i"], rating=[1.0])
    written(tmp_path, f"plays/{mark}", "{}")
    message = refusal(spark, Input(path=f"{tmp_path}/plays/{below}".rstrip("/")))
    assert f"is in a table of {name}" in message
    assert f"set input.format = {name.lower()}" in message


def test_files_of_csv_with_other_headers_are_refused(spark, tmp_path):
    written(tmp_path, "days/1.csv", "user,item,rating\nu,i,1\n")
    written(tmp_path, "days/2.csv", "item,user,rating\ni,u,2\n")
    assert re.search(r"days/[12]\.csv: .*header", refusal(spark, Input(path=f"{tmp_path}/days", **CSV)))


def test_quotes_of_csv_are_those_of_rfc_4180(spark, tmp_path):
    path = written(tmp_path, "plays.csv", 'user,item,rating\n"a ""b"", c","back\\",1\n')
    assert checked_rows(spark, Input(path=path, **CSV)) == [('a "b", c', "back\\", 1.0)]
    mine = {"header": "true", "quote": "'", "escape": "\\"}
    path = written(tmp_path, "mine.csv", "user,item,rating\n'a\\'b','c',1\n")
    assert checked_rows(spark, Input(path=path, format="csv", options=mine)) == [("a'b", "c", 1.0)]


@pytest.mark.parametrize("line", ["u,i,3,5", "u,i", "u,i,1,2,3"])
def test_a_line_with_more_or_fewer_fields_is_a_bad_row(spark, tmp_path, line):
    path = written(tmp_path, "plays.csv", f"user,item,rating\nu,i,1\n{line}\n")
    message = refusal(spark, Input(path=path, **CSV))
    assert "1 of 2 rows" in message
    assert f"line with another number of columns than the first, or that is no row, such as ('{line}',)" in message


def test_a_decimal_comma_is_shown_as_it_is_in_the_file(spark, tmp_path):
    path = written(tmp_path, "plays.csv", "\ufeffuser;item;hours\r\nu;i;3,5\r\n")
    options = {"header": "true", "sep": ";"}
    message = refusal(spark, Input(path=path, format="csv", options=options, rating="hours"))
    assert "1 x rating null or not a number, such as ('u', 'i', '3,5')" in message


def test_only_the_named_columns_need_to_be_readable(spark, tmp_path):
    times = pa.array([1_700_000_000_000_000_000], pa.timestamp("ns"))
    settings = Input(path=parquet(tmp_path, user=["u"], item=["i"], rating=[1.0], at=times))
    assert checked_rows(spark, settings) == [("u", "i", 1.0)]


def test_a_column_is_found_in_another_case_and_in_structs(spark, tmp_path):
    actor = pa.array([{"id": "u", "ID2": "v"}])
    path = parquet(tmp_path, Actor=actor, ITEM=["i"], rating=[1.0])
    assert checked_rows(spark, Input(path=path, user="actor.id", item="item")) == [("u", "i", 1.0)]
    path = parquet(tmp_path, "dotted.parquet", **{"actor.id": ["x"], "actor": actor, "item": ["i"], "rating": [1.0]})
    assert checked_rows(spark, Input(path=path, user="actor.id")) == [("x", "i", 1.0)]


def test_a_column_with_blanks_is_named_in_quotes(spark, tmp_path):
    path = written(tmp_path, "plays.csv", "user, item,rating\nu,i,1\n")
    message = refusal(spark, Input(path=path, **CSV))
    assert "the input has 'user', ' item', 'rating'; ' item' has blanks around it" in message
    assert checked_rows(spark, Input(path=path, item=" item", **CSV)) == [("u", "i", 1.0)]


def test_a_column_name_cannot_forge_a_line(spark):
    table = spark.createDataFrame([("u", "i", 1.0)], ["us\ner", "item\x1b[2J", "rating"])
    with pytest.raises(InputError, match=re.escape(r"the input has 'us\ner', 'item\x1b[2J', 'rating'")):
        check(table, Input())


def test_ratings_may_be_boolean(spark, tmp_path):
    path = parquet(tmp_path, user=["u", "v"], item=["i", "i"], rating=[True, False])
    assert checked_rows(spark, Input(path=path, nonpositive="unobserved")) == [("u", "i", 1.0)]
    message = refusal(spark, Input(path=path, nonpositive="dislike"))
    assert "1 x rating zero, a dislike without a size" in message
    assert "such as ('v', 'i', False)" in message


def test_json_over_several_lines_is_named_with_its_remedy(spark, tmp_path):
    rows = [{"user": "u", "item": "i", "rating": 1.0}]
    path = written(tmp_path, "plays.json", json.dumps(rows, indent=2))
    assert "set input.options.multiLine = true" in refusal(spark, Input(path=path, format="json"))
    settings = Input(path=path, format="json", options={"multiLine": "true"})
    assert checked_rows(spark, settings) == [("u", "i", 1.0)]


def test_a_line_that_is_no_json_is_a_bad_row(spark, tmp_path):
    path = written(tmp_path, "plays.json", '{"user": "u", "item": "i", "rating": 1}\n{"user": "u", \n')
    assert """such as ('{"user": "u", ',)""" in refusal(spark, Input(path=path, format="json"))


def test_several_paths_are_a_list(spark, tmp_path):
    paths = tuple(parquet(tmp_path, f"{n}.parquet", user=[n], item=[n], rating=[1.0]) for n in range(2))
    assert checked_rows(spark, Input(path=paths)) == [(0, 0, 1.0), (1, 1, 1.0)]
    assert 'several paths are a list: input.path = ["a", "b"]' in refusal(spark, Input(path=",".join(paths)))


def test_the_schema_as_understood_is_logged(spark, caplog):
    caplog.set_level("INFO", "wals_spark")
    rows = [("u", 7, "3", "2024-01-31"), ("v", 8, "1", "2024-02-29")]
    table = spark.createDataFrame(rows, "who string, item int, plays string, day string")
    check(table, Input(user="who", rating="plays", timestamp="day", duplicates="last"))
    types = "user 'who' string, item 'item' int, rating 'plays' double, timestamp 'day' double"
    assert f"input: {types}, from 2024-01-31 to 2024-02-29" in caplog.text


def test_a_flipped_byte_in_the_input_is_refused(spark, tmp_path):
    ids = np.random.default_rng(0).integers(0, 2**62, 5000)
    spark.createDataFrame(pa.table({"user": ids, "item": ids, "rating": np.ones(5000)})).coalesce(1).write.parquet(
        f"{tmp_path}/plays"
    )
    (part,) = (tmp_path / "plays").glob("*.parquet")
    (tmp_path / "plays" / f".{part.name}.crc").unlink()  # another's checksum, which object stores have not
    content = bytearray(part.read_bytes())
    content[len(content) // 4] ^= 1
    part.write_bytes(content)
    assert part.name in (message := refusal(spark, Input(path=f"{tmp_path}/plays")))
    assert "CRC" in message


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"options": {"sep": ""}}, "Delimiter cannot be empty"),
        ({"options": {"encoding": "utf-99"}}, "utf-99"),
        ({"options": {"header": "yes"}}, "header flag can be true or false"),
        ({"path": "hdfs://namenode.invalid:8020/plays"}, "there is no host namenode.invalid"),
        ({"path": "s3a://bucket/plays"}, "S3AFileSystem"),
        ({"path": "plays_03:00.csv"}, "no colon with Hadoop"),
        ({"path": "/tmp/plays_03:00.csv"}, "no colon with Hadoop"),
        ({"format": "jdbc"}, "url"),
        ({"format": "no.such"}, "no.such"),
        ({"format": "table", "path": "no_such_table"}, "spark.sql.catalogImplementation=hive"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_its_cause(spark, tmp_path, settings, cause):
    path = written(tmp_path, "plays.csv", "user,item,rating\nu,i,1\n")
    message = refusal(spark, Input(**{"path": path, "format": "csv", **settings}))
    assert "cannot be read" in message
    assert cause in message


def test_an_option_from_a_variable_that_is_not_there_is_refused(spark):
    with pytest.raises(ConfigError, match=r"input\.options\.key = 'env:WALS_NONE'"):
        read(spark, Input(path="x", options={"key": "env:WALS_NONE"}))


def test_files_whose_types_cannot_be_merged_are_refused(spark, tmp_path):
    parquet(tmp_path, "plays/dt=1/p.parquet", user=["u"], item=["i"], rating=[1.5])
    parquet(tmp_path, "plays/dt=2/p.parquet", user=["u"], item=["i"], rating=[1])
    merged = Input(path=f"{tmp_path}/plays", options={"mergeSchema": "true"})
    assert "Failed to merge" in refusal(spark, merged)
    assert "rating" in refusal(spark, Input(path=f"{tmp_path}/plays"))


def test_columns_of_a_view_are_read(spark):
    spark.range(2).select(F.col("id").alias("user"), F.lit("i").alias("item"), F.lit(1).alias("rating")).createTempView(
        "view_of_plays"
    )
    assert checked_rows(spark, Input(path="view_of_plays", format="table")) == [(0, "i", 1.0), (1, "i", 1.0)]
