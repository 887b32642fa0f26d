"""The blocks of one side on storage: `build.py` writes them once, every later stage reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.histogram import Histogram
from wals_spark.blocks.encoding import Record, join_ids
from wals_spark.spark.training.rdd import KeyedRecords, by_block

SCHEMA = "kind string, block int, name string, peer int, start long, payload binary"
"""A record (`encoding.Record`), the block that it belongs to, and its kind: in, out, ids, columns or summary."""


@dataclass(frozen=True)
class BlockedSide:
    """The blocks of one side on storage.

    ``name`` is ``users`` or ``items``, ``rows`` their number, ``id_type`` the type of their ids in the input;
    ``degrees`` is the distribution of observations per row.
    """

    spark: SparkSession
    name: str
    path: str
    n_blocks: int
    rows: int
    id_type: T.DataType
    degrees: Histogram

    def records(self, kind: str) -> KeyedRecords:
        """The records of one kind (in, out, ids), each block's in its own partition."""
        return by_block(read_records(self.spark, self.path, kind, self.n_blocks), self.n_blocks)

    def id_of(self, block: int, row: int) -> Any:
        """The id of one row, for a message that has to name it."""
        rows = read_kind(self.spark, self.path, "ids").where((F.col("block") == block) & (F.col("start") <= row))
        stored = rows.orderBy(F.col("start").desc()).first()
        if stored is None:
            return None
        record = Record(stored.name, stored.peer, stored.start, bytes(stored.payload))
        return join_ids([record])[row - record.start].as_py()


def read_kind(spark: SparkSession, path: str, kind: str) -> DataFrame:
    """The records of one kind as a DataFrame; only their files are read."""
    return spark.read.schema(SCHEMA).parquet(f"{path}/kind={kind}").drop("kind")


def read_records(spark: SparkSession, path: str, kind: str, n_files: int) -> KeyedRecords:
    """The records of one kind by their block, partitioned as they lie in about ``n_files`` files.

    Whole files go to Python as they are, and PyArrow reads them there: the JVM would pickle rows of a DataFrame.
    """
    return spark.sparkContext.binaryFiles(f"{path}/kind={kind}", minPartitions=n_files).flatMap(_records_of_file)


def _records_of_file(file: tuple[str, bytes]) -> Iterator[tuple[int, Record]]:
    for batch in pq.ParquetFile(pa.BufferReader(file[1])).iter_batches(batch_size=16):
        columns = (batch.column(name).to_pylist() for name in ("block", "name", "peer", "start", "payload"))
        for block, *record in zip(*columns, strict=True):
            yield block, Record(*record)
