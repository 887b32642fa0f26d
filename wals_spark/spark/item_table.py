"""A factor table sorted by id, as files that all workers of a machine map into memory: one copy for all of them.

The driver writes the files as a stream, one partition of Spark's sort at a time, so no process ever holds the whole
table; Spark sends the files to each executor once.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_binary, as_numpy
from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import Float32Array, Int32Array
from wals_spark.blocks.encoding import as_stream
from wals_spark.ranking.top_k import ItemLists

_ROWS_PER_BATCH = 10_000  # that travel to the driver together
_BYTES_PER_SORT = 256 * 2**20  # one task sorts fewer bytes in less time than several take to agree on ranges


@dataclass(frozen=True)
class ItemTable:
    """What a task needs to open the table: the name of its files, its rows, their width, and the type of ids."""

    name: str
    rows: int
    width: int
    id_type: T.DataType

    def opened(self) -> OpenItems:
        """On an executor: the table mapped into memory, opened once in each worker."""
        return _opened(self)


@dataclass(frozen=True)
class OpenItems:
    """Rows in the order of their ids: ``ids``, shape (n,), are of the input's type, ``features`` is (n, width).

    The position of a row is its number.
    """

    ids: pa.Array
    features: Float32Array

    def positions(self, ids: pa.Array) -> Int32Array:
        """The position of each id, -1 where there is none."""
        return as_numpy(pc.index_in(ids, value_set=self.ids), null=-1)

    def lists(self, histories: pa.ListArray) -> ItemLists:
        """Lists of ids, one per query, as positions; null is an empty list, unknown ids are left out."""
        lengths = as_numpy(pc.list_value_length(histories), null=0)
        queries = np.repeat(np.arange(len(histories)), lengths)
        return ItemLists.of(queries, self.positions(histories.flatten()), len(histories))


def item_table(factors: DataFrame, *, width: int, unit_length: bool = False) -> ItemTable:
    """Sort a factor table (id, features) by id and send it to all executors, later ones included.

    Parameters
    ----------
    width
        How many of the features are used, from the first on.
    unit_length
        Divide each row by its length, so that a dot product is a cosine; rows of zeros stay.
    """
    context = factors.sparkSession.sparkContext
    context.setJobDescription("sort items by id")
    task = partial(_packed, width=width, unit_length=unit_length)
    packed = _by_id(factors.select("id", "features")).mapInArrow(task, "packed binary")
    name = f"items-{uuid.uuid4().hex}"
    folder = tempfile.mkdtemp(prefix="wals_spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # not sooner: an executor fetches it when it comes up
    ids, features = Path(folder, f"{name}.arrow"), Path(folder, f"{name}.f32")
    rows = _write((pa.ipc.open_stream(row.packed) for row in packed.toLocalIterator()), ids, features)
    for path in (ids, features) if rows else ():
        context.addFile(str(path))
    return ItemTable(name, rows, width, factors.schema["id"].dataType)


def matrix(features: pa.Array, *, width: int, unit_length: bool = False) -> Float32Array:
    """A column of features as a matrix (n, width): their first ``width`` numbers, divided by their length if so."""
    numbers = as_numpy(features.flatten()).astype(np.float32, copy=False)
    rows: Float32Array = numbers.reshape(len(features), -1)[:, :width]
    if unit_length:
        lengths = np.sqrt(squared_lengths(rows))
        rows = (rows / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    return np.ascontiguousarray(rows)


def _by_id(rows: DataFrame) -> DataFrame:
    """Rows in the order of their ids, by one task if Spark expects them to be few."""
    expected_bytes: int = rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()
    return rows.orderBy("id") if expected_bytes > _BYTES_PER_SORT else rows.coalesce(1).sortWithinPartitions("id")


def _packed(batches: Iterable[pa.RecordBatch], *, width: int, unit_length: bool) -> Iterator[pa.RecordBatch]:
    """On an executor: rows as Arrow streams of moderate size, features as bytes."""
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_PER_BATCH):
            part = batch.slice(start, _ROWS_PER_BATCH)
            rows = matrix(part.column("features"), width=width, unit_length=unit_length)
            features = pa.Array.from_buffers(pa.binary(4 * width), len(rows), [None, pa.py_buffer(rows)])
            stream = as_stream(pa.record_batch([part.column("id"), features], names=["id", "features"]))
            yield pa.record_batch([as_binary([stream])], names=["packed"])


def _write(streams: Iterable[Any], ids: Path, features: Path) -> int:
    """Append the batches to the two files; the number of rows."""
    rows, writer = 0, None
    with features.open("wb") as file:
        for stream in streams:
            for batch in stream:
                writer = writer or pa.ipc.new_file(str(ids), pa.schema([batch.schema.field("id")]))
                writer.write_batch(batch.select(["id"]))
                file.write(b"".join(batch.column("features").to_pylist()))
                rows += batch.num_rows
    if writer is not None:
        writer.close()
    return rows


@lru_cache(maxsize=4)
def _opened(table: ItemTable) -> OpenItems:
    if not table.rows:
        return OpenItems(pa.nulls(0), np.empty((0, table.width), dtype=np.float32))
    with pa.memory_map(SparkFiles.get(f"{table.name}.arrow")) as file:
        ids = pa.ipc.open_file(file).read_all().column("id")
    if pa.types.is_string(ids.type):
        ids = ids.cast(pa.large_string())  # all ids together may be more than 2 GiB
    # Copy on write, and nothing is written: compiled loops know read-only arrays as another type.
    features = np.memmap(SparkFiles.get(f"{table.name}.f32"), dtype=np.float32, mode="c")
    return OpenItems(ids.combine_chunks(), features.reshape(table.rows, table.width))
