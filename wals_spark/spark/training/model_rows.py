"""Rows of a stored model's tables, brought to the blocks that have their ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import Row
from pyspark.sql import functions as F

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy
from wals_spark.arrays.features import feature_rows
from wals_spark.arrays.types import AnyArray, Float32Array, Indices
from wals_spark.blocks.assignment import Assignment
from wals_spark.blocks.encoding import (
    GroupedRecords,
    Record,
    cut,
    cut_ids,
    group_records,
    ids_of,
    join,
    keyed,
    records_of,
)
from wals_spark.errors import TrainingError
from wals_spark.spark.training.rdd import KeyedRecords, by_block, zip_partitions
from wals_spark.spark.training.sending import Records, Sent
from wals_spark.spark.training.stored_blocks import Blocks

_SENT = "block int, name string, peer long, start long, payload binary"


def item_rows(blocks: Blocks, path: str, column: str) -> KeyedRecords:
    """A column of a model's table of items, the rows of each item block in the order of its ids; all must be there."""
    records = zip_partitions(blocks.items.records("ids"), _sent_items(blocks, path, column))
    return records.mapPartitionsWithIndex(_in_order_of_ids, preservesPartitioning=True)


def stored_factors(blocks: Blocks, side: str, path: str) -> KeyedRecords:
    """The ids and factors of a model's table, sent to the blocks of a side: what `matching_rows` takes."""
    return _sent_items(blocks, path, "features") if side == "items" else _sent_users(blocks, path)


def matching_rows(grouped: GroupedRecords, ids: pa.Array) -> tuple[Indices, Float32Array]:
    """Which of a block's ids the model has, as positions, shape (n,), and their rows, (n, width)."""
    arrived = _arrived(grouped, np.dtype(np.float32))
    if arrived is None:
        return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
    model_ids, rows = arrived
    row_of_id = as_numpy(pc.index_in(_comparable(ids), _comparable(model_ids)), null=-1)
    known = np.flatnonzero(row_of_id >= 0)
    return known, rows[row_of_id[known]]


def _sent_items(blocks: Blocks, path: str, column: str) -> KeyedRecords:
    items, sc = blocks.items, blocks.items.spark.sparkContext
    files = sc.binaryFiles(path, minPartitions=items.n_blocks)  # to Python as they are: PyArrow reads them there
    address = partial(_items_by_block, column=column, items_to_blocks=blocks.plan.items_to_blocks)
    return by_block(files.mapPartitionsWithIndex(address), items.n_blocks)


def _sent_users(blocks: Blocks, path: str) -> KeyedRecords:
    """Users are in the blocks that Spark's hash partitioning has put them into, which is `hash` modulo their number."""
    users = blocks.users
    table = users.spark.read.parquet(path)
    user_id = F.expr(f"try_cast(id as {users.id_type.simpleString()})")
    block = F.pmod(F.hash("id"), F.lit(users.n_blocks)).alias("block")
    addressed = table.select(user_id.alias("id"), "features").dropna(subset=["id"]).select(block, "id", "features")
    return by_block(addressed.mapInArrow(_users_by_block, _SENT).rdd.map(_as_keyed_record), users.n_blocks)


def _users_by_block(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None  # on an executor there always is one
    for number, batch in enumerate(batches):
        source = (context.partitionId() << 32) + number
        rows, blocks = feature_rows(batch.column("features")), as_numpy(batch.column("block"))
        for block, record in _addressed(blocks, batch.column("id"), rows, source):
            numbers = (np.array([value]) for value in (block, record.peer, record.start))
            to_block, peer, start = map(as_arrow, numbers)
            columns = [to_block.cast(pa.int32()), as_binary([record.name.encode()], pa.string()), peer, start]
            yield pa.record_batch([*columns, as_binary([record.payload])], names=["block", *Record._fields])


def _as_keyed_record(row: Row) -> tuple[int, Record]:
    block, name, peer, start, payload = row
    return block, Record(name, peer, start, bytes(payload))


def _items_by_block(
    partition: int, files: Iterable[tuple[str, bytes]], *, column: str, items_to_blocks: Assignment
) -> Sent:
    """Send each row of a model's table, and its id, to the block of that id."""
    for number, batch in enumerate(_batches(files, column)):
        source = (partition << 32) + number  # by which ids and rows find each other
        ids, values = batch.column("id"), batch.column(column)
        rows = feature_rows(values) if pa.types.is_list(values.type) else as_numpy(values)[:, None]
        yield from _addressed(items_to_blocks.block_of(ids), ids, rows, source)


def _addressed(block_of_row: Indices, ids: pa.Array, rows: Float32Array, source: int) -> Sent:
    for block in np.unique(block_of_row).tolist():
        in_block = np.flatnonzero(block_of_row == block)
        yield from keyed(block, cut_ids("model_ids", ids.take(as_arrow(in_block)), peer=source))
        yield from keyed(block, cut("model_rows", rows[in_block], peer=source))


def _batches(files: Iterable[tuple[str, bytes]], column: str) -> Iterator[pa.RecordBatch]:
    for _, content in files:
        yield from pq.ParquetFile(pa.BufferReader(content)).iter_batches(columns=["id", column])


def _in_order_of_ids(block: int, records: Records) -> Sent:
    """Bring the rows of a model's table that arrived into the order of the block's ids; a row is bytes of any type."""
    grouped = group_records(record for _, record in records)
    wanted, arrived = ids_of(grouped), _arrived(grouped, np.dtype(np.uint8))
    if not len(wanted):
        return
    if arrived is None:
        raise TrainingError(f"block {block}: none of its items is in the model's table")
    ids, rows = arrived
    positions = pc.index_in(_comparable(wanted), _comparable(ids))
    if positions.null_count:
        raise TrainingError(f"block {block}: {positions.null_count} items are not in the model's table")
    yield from keyed(block, cut("factors", rows[as_numpy(positions)]))


def _arrived(grouped: GroupedRecords, dtype: np.dtype[np.generic]) -> tuple[pa.Array, AnyArray] | None:
    """The ids and rows of a model's table that were sent to a block; None without any."""
    sources = sorted(grouped.get("model_ids", {}))
    if not sources:
        return None
    ids = [ids_of(grouped, "model_ids", source) for source in sources]
    rows = [
        join(records_of(grouped, "model_rows", source), dtype.type).reshape(len(source_ids), -1)
        for source, source_ids in zip(sources, ids, strict=True)
    ]
    return pa.concat_arrays(ids), np.concatenate(rows)


def _comparable(ids: pa.Array) -> pa.Array:
    """Integers of any width are the same ids."""
    return ids.cast(pa.int64()) if pa.types.is_integer(ids.type) else ids
