"""Factor tables in Parquet: written from the blocks, and read back for their Gramian."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_arrow, as_binary
from wals_spark.arrays.features import feature_column, feature_rows
from wals_spark.arrays.types import Float64Array
from wals_spark.blocks.encoding import Record, RecordArrays, as_stream, group_records, ids_of, records_of
from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import item_weights
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Objective
from wals_spark.solvers.alignment import rotated
from wals_spark.solvers.gramian import gramian
from wals_spark.spark.training.rdd import KeyedRecords, zip_partitions
from wals_spark.spark.training.sides import BlockedSide

_WEIGHTS_PER_RECORD = 65_536
_ROWS_PER_FILE = 100_000  # a file is in memory whole while its checksum is computed (`files.py`): 25 MB at rank 64


def write_factors(
    side: BlockedSide, factors: KeyedRecords, path: str, rotation: Float64Array | None = None
) -> Float64Array:
    """Write a factor table: `id` in the type of the input, `features` array<float>, sorted by id within a file.

    With a ``rotation`` (rank, rank) rows are written in its basis (`solvers/alignment.py`). Returns the Gramian of the
    table, as read back.

    Raises
    ------
    TrainingError
        If the table holds another number of rows than the side has.
    """
    spark = side.spark
    spark.sparkContext.setJobDescription(f"write {side.name}")
    tables = zip_partitions(side.records("ids"), factors).mapPartitions(partial(_table_of_block, rotation=rotation))
    features = T.StructField("features", T.ArrayType(T.FloatType()), False)
    _write(spark, tables, T.StructType([T.StructField("id", side.id_type, False), features]), path)
    written, of_table = gramian_of(spark.read.parquet(path))
    if written != side.rows:
        raise TrainingError(f"{path} holds {written} rows where {side.rows} were trained: the model is not published")
    return of_table


def table_of_files(spark: SparkSession, files: Iterable[bytes], schema: T.StructType) -> DataFrame:
    """A factor table whose Parquet files travel with the tasks that read them."""
    contents = spark.createDataFrame([(file,) for file in files], "file binary")
    return contents.mapInArrow(partial(_rows_of_files, columns=schema.names), schema)


def _rows_of_files(batches: Iterable[pa.RecordBatch], *, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for file in batch.column("file"):
            yield from pq.read_table(io.BytesIO(file.as_py()), columns=columns).to_batches()


def write_item_weights(items: BlockedSide, objective: Objective, path: str) -> None:
    """Write what multiplies the confidence of an item's observations: `id` and `weight`, a double."""
    spark = items.spark
    spark.sparkContext.setJobDescription("write item weights")
    records = zip_partitions(items.records("ids"), items.records("in"))
    tables = records.mapPartitions(partial(_weights_of_block, objective=objective))
    weight = T.StructField("weight", T.DoubleType(), False)
    _write(spark, tables, T.StructType([T.StructField("id", items.id_type, False), weight]), path)


def write_table(rows: DataFrame, path: str) -> None:
    """Write rows of a stored table (id, ...) as a table of the same layout."""
    rows.sortWithinPartitions("id").write.option("maxRecordsPerFile", _ROWS_PER_FILE).parquet(path)


def gramian_of(table: DataFrame) -> tuple[int, Float64Array]:
    """The number of rows of a factor table, and their Gramian; the driver receives one f × f matrix per task."""
    parts = table.select("features").mapInArrow(_gramian_of_partition, "rows long, gramian binary").collect()
    matrices = [np.frombuffer(bytes(part["gramian"]), dtype=np.float64) for part in parts]
    total = np.sum(matrices, axis=0) if matrices else np.empty(0)
    width = math.isqrt(len(total))
    return sum(part["rows"] for part in parts), total.reshape(width, width)


def row_lengths(table: DataFrame) -> DataFrame:
    """The Euclidean length of each row of a factor table: one column, ``length``."""
    return table.select("features").mapInArrow(_lengths_of_rows, "length double")


def _table_of_block(records: Iterable[tuple[int, Record]], *, rotation: Float64Array | None) -> Iterator[tuple[bytes]]:
    """Ids and factors of one block as Arrow IPC streams, as large as the records of the factors."""
    grouped = group_records(record for _, record in records)
    ids = ids_of(grouped)
    parts = sorted(records_of(grouped, "factors"), key=lambda part: part.start)
    ends = [*(part.start for part in parts), len(ids)][1:]  # of an empty block, none
    for part, end in zip(parts, ends, strict=True):
        part_ids = ids.slice(part.start, end - part.start)
        rows = np.frombuffer(part.payload, dtype=np.float32).reshape(len(part_ids), -1)
        features = feature_column(rows if rotation is None else rotated(rows, rotation))
        yield (as_stream(pa.record_batch([part_ids, features], names=["id", "features"])),)


def _weights_of_block(records: Iterable[tuple[int, Record]], *, objective: Objective) -> Iterator[tuple[bytes]]:
    """Ids and weights of one block of items as Arrow IPC streams."""
    grouped = group_records(record for _, record in records)
    ids = ids_of(grouped)
    weights = item_weights(InBlock.read(RecordArrays(grouped)), objective)
    table = pa.record_batch([ids, as_arrow(weights)], names=["id", "weight"])
    for start in range(0, len(table), _WEIGHTS_PER_RECORD):
        yield (as_stream(table.slice(start, _WEIGHTS_PER_RECORD)),)


def _write(spark: SparkSession, tables: RDD[tuple[bytes]], schema: T.StructType, path: str) -> None:
    packed = spark.createDataFrame(tables, "packed binary", verifySchema=False)
    packed.mapInArrow(_unpacked, schema).write.option("maxRecordsPerFile", _ROWS_PER_FILE).parquet(path)


def _gramian_of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows, total = 0, None
    for batch in batches:
        if batch.num_rows:
            part = gramian(feature_rows(batch.column(0)))
            rows, total = rows + batch.num_rows, part if total is None else total + part
    if total is not None:
        yield pa.record_batch([as_arrow(np.array([rows])), as_binary([total.tobytes()])], names=["rows", "gramian"])


def _lengths_of_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = feature_rows(batch.column(0)).astype(np.float64)
        yield pa.record_batch([as_arrow(np.sqrt(np.einsum("ij,ij->i", rows, rows)))], names=["length"])


def _unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for packed in batch.column(0):
            yield from pa.ipc.open_stream(packed.as_buffer())
