"""The blocks of one side on storage: `build.py` writes them once, every later stage reads them."""

from __future__ import annotations

from collections import deque
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

_ROW = "block int, name string, peer int, start long, payload binary"
_RECORDS_PER_FILE = "32"  # of 2 MiB: a file is in memory whole while it is read, and while its checksum is computed


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


def write_records(spark: SparkSession, records: KeyedRecords, path: str) -> None:
    """Write records of one kind, to be read by `read_records`, which names the folder of ``path`` and the kind."""
    rows = spark.createDataFrame(records.map(_as_row), _ROW, verifySchema=False)
    options = {"maxRecordsPerFile": _RECORDS_PER_FILE, "parquet.enable.dictionary": "false"}
    rows.write.options(**options).parquet(path)


def _as_row(keyed_record: tuple[int, Record]) -> tuple[int, str, int, int, bytes]:
    block, record = keyed_record
    return (block, *record)


def unreadable_files(spark: SparkSession, path: str) -> list[str]:
    """The files of records below a folder that are not as they were written, by the checksums of their pages."""
    files = spark.sparkContext.binaryFiles(f"{path}/kind=*", minPartitions=spark.sparkContext.defaultParallelism)
    return files.flatMap(_fault_of_file).collect()


def _fault_of_file(file: tuple[str, bytes]) -> Iterator[str]:
    try:
        deque(_records_of_file(file), maxlen=0)
    except (OSError, pa.ArrowException) as error:
        yield f"{file[0]}: {error}"


def _records_of_file(file: tuple[str, bytes]) -> Iterator[tuple[int, Record]]:
    parquet = pq.ParquetFile(pa.BufferReader(file[1]), page_checksum_verification=True)
    for batch in parquet.iter_batches(batch_size=16):
        columns = (batch.column(name).to_pylist() for name in ("block", "name", "peer", "start", "payload"))
        for block, *record in zip(*columns, strict=True):
            yield block, Record(*record)
