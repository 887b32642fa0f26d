from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from small_inputs import CSV, checked_rows, parquet, refusal, written

from wals_spark.errors import InputError
from wals_spark.settings.tables import Aliases, Ids, Input
from wals_spark.spark.checking import check
from wals_spark.spark.reading import read, read_ids


@pytest.mark.parametrize("infer", ["true", "false"])
def test_ids_of_csv_keep_leading_zeros(spark, tmp_path, infer):
    path = written(tmp_path, "plays.csv", "user,item,rating\n007,1e3,1\n7,1000,2\n")
    settings = Input(path=path, format="csv", options={"header": "true", "inferSchema": infer})
    assert checked_rows(spark, settings) == [("007", "1e3", 1.0), ("7", "1000", 2.0)]


def test_ids_in_folder_names_keep_leading_zeros(spark, tmp_path):
    for user in ("007", "7"):
        parquet(tmp_path, f"plays/user={user}/part.parquet", item=["i"], rating=[1.0])
    assert checked_rows(spark, Input(path=f"{tmp_path}/plays")) == [("007", "i", 1.0), ("7", "i", 1.0)]
    assert spark.conf.get("spark.sql.sources.partitionColumnTypeInference.enabled") == "true"


def test_times_of_pandas_are_read_in_their_unit(spark, tmp_path):
    times = pa.array([1_700_000_000_500_000_000], pa.timestamp("ns"))
    path = parquet(tmp_path, user=["u"], item=["i"], rating=[1.0], at=times)
    named = Input(path=path, timestamp="at", duplicates="last", time_unit="nanoseconds")
    assert checked_rows(spark, named) == [("u", "i", 1.0, 1_700_000_000.5)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([7, 8], pa.int8()), [7, 8]),
        (pa.array([7.0, 2.0**53]), [7, 2**53]),
        (pa.array([7, 8], pa.float32()), [7, 8]),
        (pa.array([7, 2**63 - 1], pa.decimal128(38, 0)), [7, 2**63 - 1]),
        (pa.array([7, -(2**62)], pa.decimal128(38, 0)), [7, -(2**62)]),
        (pa.array([7, 2**63 - 1], pa.uint64()), [7, 2**63 - 1]),
    ],
)
def test_whole_numbers_of_any_type_are_ids_exactly(spark, tmp_path, ids, expected):
    path = parquet(tmp_path, user=ids, item=ids, rating=[1.0, 2.0])
    assert checked_rows(spark, Input(path=path)) == sorted((i, i, r) for i, r in zip(expected, (1.0, 2.0), strict=True))


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([7.0, 7.5, 2.0**54, np.nan, np.inf]),
        pa.array(np.float32([7, 0.5, 2**24 + 2, -np.inf, np.nan])),
        pa.array([7, 2**63, 2**63 + 1, 10**30, -(10**30)], pa.decimal128(38, 0)),
        pa.array([7, 2**63, 2**64 - 1, 2**63 + 1, 2**63 + 2], pa.uint64()),
    ],
)
def test_other_numbers_are_refused_as_ids_and_counted(spark, tmp_path, ids):
    message = refusal(spark, Input(path=parquet(tmp_path, user=ids, item=["i"] * 5, rating=[1.0] * 5)))
    assert "4 of 5 rows" in message
    assert "4 x user id is no whole number of 64 bits, such as" in message


@pytest.mark.parametrize(
    "spelling",
    ["\\N", *(pytest.param(text, marks=pytest.mark.slow) for text in ("NULL", "null", "None", "NaN", "nan"))],
)
def test_ids_that_spell_null_are_refused_in_text(spark, tmp_path, caplog, spelling):
    path = written(tmp_path, "plays.csv", f"user,item,rating\n{spelling},i,1\nu,i,1\n")
    assert "1 x user id that spells null or has the sign of a wrong" in refusal(spark, Input(path=path, **CSV))
    kept = checked_rows(spark, Input(path=path, suspect_ids="warn", **CSV))
    assert kept == sorted([("u", "i", 1.0), (spelling, "i", 1.0)])
    assert "1 rows have an id that spells null" in caplog.text
    typed = Input(path=parquet(tmp_path, user=[spelling], item=["i"], rating=[1.0]))
    assert checked_rows(spark, typed) == [(spelling, "i", 1.0)]  # a typed column has nulls of its own
    assert "1 of 1 rows" in refusal(spark, Input(path=typed.path, suspect_ids="bad"))


def test_ids_of_another_encoding_are_refused(spark, tmp_path):
    path = written(tmp_path, "plays.csv", "user,item,rating\nZoë,i,1\n", encoding="latin-1")
    assert "sign of a wrong encoding" in refusal(spark, Input(path=path, **CSV))
    latin = Input(path=path, format="csv", options={"header": "true", "encoding": "ISO-8859-1"})
    assert checked_rows(spark, latin) == [("Zoë", "i", 1.0)]


def test_ids_that_are_not_utf_8_are_refused_in_the_check(spark, tmp_path):
    ids = pa.array([b"Zo\xeb", "Zoë".encode()]).cast(pa.binary())
    text = pa.StringArray.from_buffers(2, ids.buffers()[1], ids.buffers()[2])
    path = parquet(tmp_path, user=text, item=["i", "i"], rating=[1.0, 1.0])
    assert "1 of 2 rows" in (message := refusal(spark, Input(path=path)))
    assert "1 x user id is not UTF-8" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds"), (-1.0, None), (2.6, None)]
)
def test_implausible_times_are_bad_rows_with_the_unit_that_fits(spark, factor, unit):
    rows = [("u", "i", 1.0, 1.7e9 * factor), ("v", "i", 1.0, 1.7e9)]
    table = spark.createDataFrame(rows, "user string, item string, rating double, at double")
    with pytest.raises(InputError) as refused:
        check(table, Input(timestamp="at", duplicates="last"))
    assert "1 x time before 1990-01-01 or after tomorrow" in str(refused.value)
    expected = f"input.time_unit = {unit}" if unit else "if they are right, set input.earliest_time or latest_time"
    assert expected in str(refused.value)
    if unit:
        of_unit = Input(timestamp="at", duplicates="last", time_unit=unit)
        assert check(table.limit(1), of_unit).table.head()["timestamp"] == pytest.approx(1.7e9)
    wide = Input(timestamp="at", duplicates="last", earliest_time="1900-01-01", latest_time="2120-01-01")
    assert unit or check(table, wide).rows == 2


ALIASES = "9\t1\n8\t2\n\t1\n7\t\n"


def aliases_of(path, **changes):
    options = {"format": "csv", "options": {"sep": "\t"}, "alias": "_c0", "id": "_c1"}
    return Aliases(**{"path": path, **options, **changes})


def test_aliases_are_replaced_before_duplicates_are_merged(spark, tmp_path):
    path = written(tmp_path, "plays.csv", "user,item,rating\nu,9,1\nu,1,2\nu,8,3\nu,7,4\n")
    aliases = written(tmp_path, "aliases.tsv", ALIASES)
    rows = checked_rows(spark, Input(path=path, aliases=aliases_of(aliases), **CSV))
    assert rows == [("u", "1", 1.0), ("u", "1", 2.0), ("u", "2", 3.0), ("u", "7", 4.0)]
    numbers = Input(path=parquet(tmp_path, user=[9], item=[9], rating=[1.0]), aliases=aliases_of(aliases))
    with pytest.raises(InputError, match=r"input\.aliases\.alias: ids are of type string"):
        check(read(spark, numbers), numbers)


def test_an_alias_of_two_ids_is_refused(spark, tmp_path):
    path = written(tmp_path, "plays.csv", "user,item,rating\nu,9,1\n")
    aliases = written(tmp_path, "aliases.tsv", "9\t1\n9\t2\n8\t1\n8\t1\n")
    message = refusal(spark, Input(path=path, aliases=aliases_of(aliases), **CSV))
    assert "an alias stands for several ids: '9' for '1' and '2'" in message


def test_tables_of_ids_are_read_as_carefully(spark, tmp_path):
    factors = spark.createDataFrame([(7,)], "id bigint")
    settings = Ids(path=parquet(tmp_path, ID=pa.array([7.0, 7.0])))
    assert [row["id"] for row in read_ids(spark, settings, factors, section="queries").collect()] == [7]
