"""A model on storage: factor tables first, the manifest last, then the pointer to the served version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from wals_spark.errors import ConfigError, TrainingError
from wals_spark.pieces import Piece, as_stream, by_name_and_peer, join_ids, pieces_of
from wals_spark.spark.rdd import Keyed, side_by_side
from wals_spark.spark.sides import BlockedSide
from wals_spark.spark.storage import CURRENT, EVENTS, MANIFEST, Storage

WORK = "_work"


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


def write_factors(spark: SparkSession, side: BlockedSide, factors: Keyed, path: str) -> None:
    """Write a factor table: `id` in the caller's type, `features` array<float>, sorted by id within a file.

    Raises
    ------
    TrainingError
        If the table holds another number of rows than the side has.
    """
    schema = T.StructType(
        [
            T.StructField("id", side.id_type, False),
            T.StructField("features", T.ArrayType(T.FloatType()), False),
        ]
    )
    spark.sparkContext.setJobDescription(f"write {side.name}")
    tables = side_by_side(side.pieces("ids"), factors).mapPartitions(_table_of_block)
    packed = spark.createDataFrame(tables, "packed binary", verifySchema=False)
    packed.mapInArrow(_unpacked, schema).write.parquet(path)
    written = spark.read.parquet(path).count()
    if written != side.rows:
        raise TrainingError(f"{path} holds {written} rows where {side.rows} were trained: the model is not published")


def publish(storage: Storage, folder: str, manifest: str, *, current: str | None) -> None:
    """Make a folder a model: the manifest is what readers wait for. ``current`` names the version to serve."""
    storage.write_text(manifest, folder, MANIFEST)
    if current is not None:
        storage.write_text(f"{current}\n", CURRENT)


def _table_of_block(pieces: Iterable[tuple[int, Piece]]) -> Iterator[tuple[bytes]]:
    """Ids and factors of one block as Arrow IPC streams, as large as the factors' pieces."""
    found = by_name_and_peer(piece for _, piece in pieces)
    ids = join_ids(pieces_of(found, "ids"))
    parts = sorted(pieces_of(found, "factors"), key=lambda part: part.start)
    ends = [*(part.start for part in parts), len(ids)][1:]  # of an empty block, none
    for part, end in zip(parts, ends, strict=True):
        some = ids.slice(part.start, end - part.start)
        values = np.frombuffer(part.payload, dtype=np.float32)
        offsets = np.arange(len(some) + 1, dtype=np.int32) * (len(values) // len(some))
        features = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
        yield (as_stream(pa.record_batch([some, features], names=["id", "features"])),)


def _unpacked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for packed in batch.column(0):
            yield from pa.ipc.open_stream(packed.as_buffer())
