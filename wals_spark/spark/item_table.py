"""A factor table sorted by id, which executors have in memory, or mapped: one copy for all workers of a machine.

The driver broadcasts the table in parts, as a stream, so no process of Python ever holds a large one whole.
"""

from __future__ import annotations

import os
import shutil
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast, TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_binary, as_numpy
from wals_spark.arrays.features import squared_lengths
from wals_spark.arrays.types import Float32Array, Int32Array
from wals_spark.blocks.encoding import as_stream
from wals_spark.ranking.tiles import LongestFirst
from wals_spark.ranking.top_k import ItemLists
from wals_spark.spark.plans import expected_bytes

_ROWS_PER_BATCH = 10_000  # that travel to the driver together
_BYTES_PER_SORT = 256 * 2**20  # one task sorts fewer bytes in less time than several take to agree on ranges
_BYTES_PER_PART = 64 * 2**20  # of a broadcast
_BYTES_IN_MEMORY = 64 * 2**20  # of a table that each worker has for itself
_OPEN_TABLES = 4  # per worker, and files of tables per machine
_FILES = "wals_spark-items"  # a folder of the executor's


@dataclass(frozen=True)
class ItemTable:
    """What a task needs to open the table: its parts, Arrow streams; its rows, their width, and the type of ids."""

    name: str
    rows: int
    width: int
    id_type: T.DataType
    parts: tuple[Broadcast[list[bytes]], ...] = ()

    def opened(self) -> OpenItems:
        """The table, opened once in each worker."""
        if self.name not in _open:
            _open[self.name] = _opened(self)
            while len(_open) > _OPEN_TABLES:
                _open.popitem(last=False)
        _open.move_to_end(self.name)
        return _open[self.name]

    def destroy(self) -> None:
        """Have Spark delete the table everywhere; what would still read it fails."""
        _destroy(list(self.parts))


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

    @cached_property
    def longest_first(self) -> LongestFirst:
        """The order in which the top k looks at the rows."""
        return LongestFirst.of(self.features)


class SentTables:
    """The tables of one model that executors have been sent, each once; they go when nothing refers to this object."""

    def __init__(self) -> None:
        self._tables: dict[str, ItemTable] = {}
        self._parts: list[Broadcast[list[bytes]]] = []
        self._lock = Lock()
        weakref.finalize(self, _destroy, self._parts)

    def table(self, factors: DataFrame, *, width: int, unit_length: bool = False, key: str = "") -> ItemTable:
        """As `item_table`; with a ``key``, the table that was sent under it before, if there is one."""
        with self._lock:
            if key not in self._tables:
                table = item_table(factors, width=width, unit_length=unit_length)
                self._parts += table.parts
                if not key:
                    return table
                self._tables[key] = table
            return self._tables[key]


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
    table = ItemTable(uuid.uuid4().hex, 0, width, factors.schema["id"].dataType)
    rows, size, streams = 0, 0, list[bytes]()
    for n_rows, stream in _sorted(factors.select("id", "features"), width, unit_length=unit_length):
        rows, size = rows + n_rows, size + len(stream)
        streams.append(stream)
        if size >= _BYTES_PER_PART:
            table = replace(table, parts=(*table.parts, context.broadcast(streams)))
            size, streams = 0, []
    if streams:
        table = replace(table, parts=(*table.parts, context.broadcast(streams)))
    return replace(table, rows=rows)


def matrix(features: pa.Array, *, width: int, unit_length: bool = False) -> Float32Array:
    """A column of features as a matrix (n, width): their first ``width`` numbers, divided by their length if so."""
    numbers = as_numpy(features.flatten()).astype(np.float32, copy=False)
    rows: Float32Array = numbers.reshape(len(features), -1)[:, :width]
    if unit_length:
        lengths = np.sqrt(squared_lengths(rows))
        rows = (rows / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    return np.ascontiguousarray(rows)


def _sorted(rows: DataFrame, width: int, *, unit_length: bool) -> Iterator[tuple[int, bytes]]:
    """The rows in the order of their ids, as Arrow streams of moderate size, with their numbers of rows."""
    expected = expected_bytes(rows)
    task = partial(_packed, width=width, unit_length=unit_length)
    if expected is not None and expected <= _BYTES_IN_MEMORY and hasattr(rows, "toArrow"):  # since Spark 4
        table = rows.toArrow().combine_chunks()
        table = table.take(pc.sort_indices(table.column("id")))
        packed: Iterable[Any] = (batch for batch in task(table.combine_chunks().to_batches()))
        yield from ((batch.column("rows")[0].as_py(), batch.column("packed")[0].as_py()) for batch in packed)
        return
    is_large = expected is None or expected > _BYTES_PER_SORT
    ordered = rows.orderBy("id") if is_large else rows.coalesce(1).sortWithinPartitions("id")
    for row in ordered.mapInArrow(task, "rows int, packed binary").toLocalIterator():
        yield row["rows"], bytes(row["packed"])


def _packed(batches: Iterable[pa.RecordBatch], *, width: int, unit_length: bool) -> Iterator[pa.RecordBatch]:
    """Rows as Arrow streams of moderate size, features as bytes."""
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_PER_BATCH):
            part = batch.slice(start, _ROWS_PER_BATCH)
            rows = matrix(part.column("features"), width=width, unit_length=unit_length)
            features = pa.Array.from_buffers(pa.binary(4 * width), len(rows), [None, pa.py_buffer(rows)])
            stream = as_stream(pa.record_batch([part.column("id"), features], names=["id", "features"]))
            counts = pa.array([len(rows)], pa.int32())
            yield pa.record_batch([counts, as_binary([stream])], names=["rows", "packed"])


_open: OrderedDict[str, OpenItems] = OrderedDict()


def _opened(table: ItemTable) -> OpenItems:
    if not table.rows:
        return OpenItems(pa.nulls(0), np.empty((0, table.width), dtype=np.float32))
    folder = _folder_of_files()
    if folder is None or 4 * table.width * table.rows <= _BYTES_IN_MEMORY:
        batches = list(_batches(table))
        ids = pa.chunked_array([batch.column("id") for batch in batches])
        features = np.concatenate([_features(batch, table.width) for batch in batches])
        return OpenItems(_in_one_piece(ids), features)
    files = folder / table.name
    if not files.exists():
        _write(table, files)
    os.utime(files)  # it was used now
    with pa.memory_map(str(files / "ids.arrow")) as file:
        ids = pa.ipc.open_file(file).read_all().column("id")
    # Copy on write, and nothing is written: compiled loops know read-only arrays as another type.
    features = np.memmap(files / "features.f32", dtype=np.float32, mode="c").view(np.ndarray)
    return OpenItems(_in_one_piece(ids), features.reshape(table.rows, table.width))


def _folder_of_files() -> Path | None:
    """On an executor: a folder of its own for all of its workers; on the driver None."""
    directories = os.environ.get("SPARK_LOCAL_DIRS", "") if TaskContext.get() is not None else ""
    return Path(directories.split(",")[0]) / _FILES if directories else None


def _batches(table: ItemTable) -> Iterator[pa.RecordBatch]:
    for part in table.parts:
        for stream in part.value:
            yield from pa.ipc.open_stream(stream)
        with suppress(AttributeError):
            del part._value  # PySpark keeps it for the next task, which has the table


def _features(batch: pa.RecordBatch, width: int) -> Float32Array:
    column = batch.column("features")
    numbers = np.frombuffer(column.buffers()[1], dtype=np.float32)
    rows: Float32Array = numbers[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)
    return rows


def _in_one_piece(ids: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_string(ids.type):
        ids = ids.cast(pa.large_string())  # all ids together may be more than 2 GiB
    return ids.combine_chunks()


def _write(table: ItemTable, files: Path) -> None:
    """Write the table for all workers of this machine, of which several may do so, and delete tables long unused."""
    unfinished = files.with_name(f".{table.name}.{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    writer = None
    with (unfinished / "features.f32").open("wb") as file:
        for batch in _batches(table):
            ids = batch.select(["id"])
            writer = writer or pa.ipc.new_file(str(unfinished / "ids.arrow"), ids.schema)
            writer.write_batch(ids)
            file.write(_features(batch, table.width).tobytes())
    assert writer is not None  # a table without rows is not written
    writer.close()
    with suppress(OSError):  # another worker was faster
        unfinished.replace(files)
    shutil.rmtree(unfinished, ignore_errors=True)
    others = (path for path in files.parent.glob("[!.]*") if path != files)
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[: 1 - _OPEN_TABLES]:
        shutil.rmtree(path, ignore_errors=True)  # who has it mapped keeps it


def _destroy(parts: list[Broadcast[list[bytes]]]) -> None:
    while parts:
        with suppress(Exception):  # Spark may have stopped
            parts.pop().destroy()
