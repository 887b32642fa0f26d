"""Small files to read, and what reading and checking them gives."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wals_spark.errors import InputError
from wals_spark.spark.checking import check
from wals_spark.spark.reading import read

CSV = {"format": "csv", "options": {"header": "true"}}


def checked_rows(spark, settings, **options):
    table = check(read(spark, settings), settings, **options).table
    return sorted(tuple(row) for row in table.collect())


def refusal(spark, settings, **options):
    with pytest.raises(InputError) as refused:
        check(read(spark, settings), settings, **options)
    return str(refused.value)


def written(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return str(path)


def parquet(folder, name="plays.parquet", **columns):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, write_page_checksum=True)
    return str(path)
