"""A model on storage: factor tables first, the manifest last, then the pointer to the served version."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_arrow, as_binary
from wals_spark.arrays.features import feature_column, feature_rows
from wals_spark.arrays.types import Float64Array
from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.records import Record, as_stream, group_records, join_ids, records_of
from wals_spark.blocks.weighted import item_weights
from wals_spark.errors import ConfigError, TrainingError
from wals_spark.objective.objective import Objective
from wals_spark.run.events import HalfIteration, as_jsonl
from wals_spark.solvers.gramian import gramian
from wals_spark.spark.storage import CURRENT, EVENTS, MANIFEST, Storage
from wals_spark.spark.training.rdd import Keyed, zip_partitions
from wals_spark.spark.training.sides import BlockedSide

WORK = "_work"

_WEIGHTS_A_RECORD = 65_536

# A small file takes a tenth of a second to replace, on object stores more: as long as a short half-iteration.
_SECONDS_BETWEEN_WRITES = 5.0


@contextmanager
def new_version(storage: Storage, version: str) -> Iterator[str]:
    """Give the folder of a new version, below the root; its work files are gone at the end, however it ends.

    What a run that died has left under this name is no model (it has no manifest) and goes away first.

    Raises
    ------
    ConfigError
        If a model of this name exists, or the folder cannot be written.
    """
    folder = f"versions/{version}"
    if storage.exists(folder, MANIFEST):
        raise ConfigError(
            f"output.version = {version}: {storage.path(folder)} is a complete model and stays; choose another name"
        )
    try:
        storage.delete(folder)
        storage.write_text("", folder, EVENTS)
    except Py4JJavaError as error:
        raise ConfigError(f"output.path: {storage.path(folder)} cannot be written: {error.java_exception}") from error
    try:
        yield folder
    finally:
        storage.delete(folder, WORK)


@contextmanager
def event_log(storage: Storage, folder: str) -> Iterator[Callable[[list[HalfIteration]], None]]:
    """Give a function that keeps a version's events on storage, a few seconds behind; at the end all are there.

    It is given all events so far. If what is done meanwhile fails, the events until then are written too.
    """
    latest: list[HalfIteration] = []
    written = -math.inf

    def write() -> None:
        storage.write_text(as_jsonl(latest), folder, EVENTS)

    def keep(events: list[HalfIteration]) -> None:
        nonlocal latest, written
        latest = [*events]
        if time.monotonic() - written >= _SECONDS_BETWEEN_WRITES:
            write()
            written = time.monotonic()

    try:
        yield keep
    except BaseException:
        with suppress(Exception):  # storage may be what failed, and the first error is the one to read
            write()
        raise
    write()


def write_factors(spark: SparkSession, side: BlockedSide, factors: Keyed, path: str) -> Float64Array:
    """Write a factor table: `id` in the caller's type, `features` array<float>, sorted by id within a file.

    Gives the Gramian of the table, as read back.

    Raises
    ------
    TrainingError
        If the table holds another number of rows than the side has.
    """
    spark.sparkContext.setJobDescription(f"write {side.name}")
    tables = zip_partitions(side.records("ids"), factors).mapPartitions(_table_of_block)
    features = T.StructField("features", T.ArrayType(T.FloatType()), False)
    _write(spark, tables, T.StructType([T.StructField("id", side.id_type, False), features]), path)
    written, of_table = gramian_of(spark.read.parquet(path))
    if written != side.rows:
        raise TrainingError(f"{path} holds {written} rows where {side.rows} were trained: the model is not published")
    return of_table


def write_item_weights(spark: SparkSession, items: BlockedSide, objective: Objective, path: str) -> None:
    """Write what multiplies the confidence of an item's observations: `id` and `weight`, a double."""
    spark.sparkContext.setJobDescription("write item weights")
    records = zip_partitions(items.records("ids"), items.records("in"))
    tables = records.mapPartitions(partial(_weights_of_block, objective=objective))
    weight = T.StructField("weight", T.DoubleType(), False)
    _write(spark, tables, T.StructType([T.StructField("id", items.id_type, False), weight]), path)


def gramian_of(table: DataFrame) -> tuple[int, Float64Array]:
    """The rows of a factor table, and their Gramian; the driver gets one f × f matrix from each task."""
    parts = table.select("features").mapInArrow(_gramian_of_partition, "rows long, gramian binary").collect()
    matrices = [np.frombuffer(bytes(part["gramian"]), dtype=np.float64) for part in parts]
    total = np.sum(matrices, axis=0) if matrices else np.empty(0)
    width = math.isqrt(len(total))
    return sum(part["rows"] for part in parts), total.reshape(width, width)


def publish(storage: Storage, folder: str, manifest: str, *, current: str | None) -> None:
    """Make a folder a model: the manifest is what readers wait for. ``current`` names the version to serve."""
    storage.write_text(manifest, folder, MANIFEST)
    if current is not None:
        storage.write_text(f"{current}\n", CURRENT)


def _table_of_block(records: Iterable[tuple[int, Record]]) -> Iterator[tuple[bytes]]:
    """Ids and factors of one block as Arrow IPC streams, as large as the factors' pieces."""
    found = group_records(record for _, record in records)
    ids = join_ids(records_of(found, "ids"))
    parts = sorted(records_of(found, "factors"), key=lambda part: part.start)
    ends = [*(part.start for part in parts), len(ids)][1:]  # of an empty block, none
    for part, end in zip(parts, ends, strict=True):
        some = ids.slice(part.start, end - part.start)
        features = feature_column(np.frombuffer(part.payload, dtype=np.float32).reshape(len(some), -1))
        yield (as_stream(pa.record_batch([some, features], names=["id", "features"])),)


def _weights_of_block(records: Iterable[tuple[int, Record]], *, objective: Objective) -> Iterator[tuple[bytes]]:
    """Ids and weights of one block of items as Arrow IPC streams."""
    found = group_records(record for _, record in records)
    ids, weights = join_ids(records_of(found, "ids")), item_weights(InBlock.from_records(found), objective)
    table = pa.record_batch([ids, as_arrow(weights)], names=["id", "weight"])
    for start in range(0, len(table), _WEIGHTS_A_RECORD):
        yield (as_stream(table.slice(start, _WEIGHTS_A_RECORD)),)


def _write(spark: SparkSession, tables: RDD[tuple[bytes]], schema: T.StructType, path: str) -> None:
    packed = spark.createDataFrame(tables, "packed binary", verifySchema=False)
    packed.mapInArrow(_unpacked, schema).write.parquet(path)


def _gramian_of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows, total = 0, None
    for batch in batches:
        if batch.num_rows:
            part = gramian(feature_rows(batch.column(0)))
            rows, total = rows + batch.num_rows, part if total is None else total + part
    if total is not None:
        yield pa.record_batch([as_arrow(np.array([rows])), as_binary([total.tobytes()])], names=["rows", "gramian"])


def _unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for packed in batch.column(0):
            yield from pa.ipc.open_stream(packed.as_buffer())
