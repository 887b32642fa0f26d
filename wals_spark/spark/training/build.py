"""Interactions laid out as in-blocks and out-blocks of both sides, and kept as files before the first iteration.

Users are shuffled to their blocks once; each user block is laid out where it lands, and tells every item block
its part of the matrix. What both have become is written below the model's folder and read from there ever
after: a task that Spark repeats sees the same rows, whatever has happened to the source since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy
from wals_spark.arrays.dictionary import as_float32_if_exact
from wals_spark.arrays.heap import trim_heap
from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Int32Array, Int64Array
from wals_spark.blocks.assignment import N_BUCKETS, assign_by_cost
from wals_spark.blocks.build import Columns, Duplicates, build_column_block, build_row_block
from wals_spark.blocks.in_out import out_block_records
from wals_spark.blocks.records import Record, cut_ids
from wals_spark.blocks.weighted import positive_counts
from wals_spark.errors import InputError
from wals_spark.solvers.heavy_rows import row_limit
from wals_spark.spark.training.rdd import by_block
from wals_spark.spark.training.sides import SCHEMA, BlockedSide, read_kind, read_records

_ROWS_A_BLOCK = 5_000_000  # observations: 40 MB of in-block, a few seconds of one core a half-iteration


@dataclass(frozen=True)
class Blocks:
    """Both sides, laid out.

    ``observations`` counts distinct pairs, ``merged`` the rows beyond the first of theirs; ``mean_rating`` is of the
    distinct pairs, ``largest_item_count`` the number of them that the most popular item has above zero. ``block_of_bucket`` is
    the block of each bucket of items (`buckets.assign_by_cost`), shape (N_BUCKETS,).
    """

    users: BlockedSide
    items: BlockedSide
    observations: int
    merged: int
    mean_rating: float
    largest_item_count: int
    block_of_bucket: Int32Array


def build_blocks(
    spark: SparkSession,
    ratings: DataFrame,
    *,
    rows: int,
    duplicates: str,
    work: str,
    item_costs: Int64Array | None = None,
    user_blocks: int = 0,
    item_blocks: int = 0,
    heavy_row_threshold: int = 0,
) -> Blocks:
    """Lay out clean interactions (user, item, rating[, weight][, timestamp]) as files below ``work``.

    Reads ``ratings`` once. A number of blocks of 0 is chosen from ``rows`` and the cluster. ``item_costs``, the rows of
    each bucket of items (`ratings.Ratings`), make blocks of items alike in cost; ``heavy_row_threshold`` is what training has.

    Raises
    ------
    InputError
        If duplicates are refused and there are any: how many, and up to five of the pairs.
    """
    automatic = max(spark.sparkContext.defaultParallelism, -(-rows // _ROWS_A_BLOCK))
    n_users, n_items = user_blocks or automatic, item_blocks or automatic

    spark.sparkContext.setJobDescription("lay out user blocks")
    costs = np.zeros(N_BUCKETS, dtype=np.int64) if item_costs is None else item_costs
    block_of_bucket = assign_by_cost(costs, n_items, row_limit=row_limit(heavy_row_threshold, rows, n_items))
    task = partial(_build_user_block, n_item_blocks=n_items, item_blocks=block_of_bucket, duplicates=duplicates)
    # A partition is a block: Spark keeps the number of partitions that it is told, and one user's rows together.
    _write(ratings.repartition(n_users, "user").mapInArrow(task, SCHEMA), f"{work}/users")
    summaries = _summaries(spark, f"{work}/users")
    found = Duplicates(
        sum(s["duplicates"] for s in summaries), tuple(pair for s in summaries for pair in s["examples"])
    )
    if duplicates == "refuse" and found.rows:
        examples = ", ".join(str(tuple(pair)) for pair in found.examples[:5])
        raise InputError(
            f"{found.rows} rows repeat a (user, item) pair, such as {examples}; "
            "set input.duplicates to sum, last or max to merge them"
        )

    spark.sparkContext.setJobDescription("lay out item blocks")
    columns = read_records(spark, f"{work}/users", "columns", n_users).map(_to_peer_block)
    built = by_block(columns, n_items).mapPartitionsWithIndex(partial(_build_item_block, n_user_blocks=n_users))
    _write(spark.createDataFrame(built, SCHEMA, verifySchema=False), f"{work}/items")
    item_summaries = _summaries(spark, f"{work}/items")
    item_rows = sum(s["rows"] for s in item_summaries)

    user_rows = sum(s["rows"] for s in summaries)
    observations = sum(s["observations"] for s in summaries)
    types = {column.name: column.dataType for column in ratings.schema}
    users = BlockedSide(spark, "users", f"{work}/users", n_users, user_rows, types["user"], _degrees(summaries))
    items = BlockedSide(spark, "items", f"{work}/items", n_items, item_rows, types["item"], _degrees(item_summaries))
    return Blocks(
        users=users,
        items=items,
        observations=observations,
        merged=found.rows,
        mean_rating=sum(s["ratings"] for s in summaries) / observations,
        largest_item_count=max(s["largest_count"] for s in item_summaries),
        block_of_bucket=block_of_bucket,
    )


_ARROW_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("block", pa.int32()),
        ("name", pa.string()),
        ("peer", pa.int32()),
        ("start", pa.int64()),
        ("payload", pa.binary()),
    ]
)
_Record = tuple[str, int, str, int, int, bytes]


def _build_user_block(
    batches: Iterable[pa.RecordBatch], *, n_item_blocks: int, item_blocks: Int32Array, duplicates: str
) -> Iterator[pa.RecordBatch]:
    """On an executor: one partition of interactions becomes the pieces of one user block."""
    trim_heap()
    columns = _received(batches)
    if not columns:
        return
    numbers = {name: np.concatenate(columns.pop(name)) for name in ("rating", "timestamp", "weight") if name in columns}
    block = _partition()
    layout = build_row_block(  # it is given what it frees again as soon as it can: nobody else holds it
        pa.chunked_array(columns.pop("user")),
        pa.chunked_array(columns.pop("item")),
        numbers.pop("rating"),
        n_column_blocks=n_item_blocks,
        column_blocks=item_blocks,
        duplicates=duplicates,
        timestamps=numbers.pop("timestamp", None),
        weights=numbers.pop("weight", None),
    )
    summary = {
        "rows": len(layout.ids),
        "observations": len(layout.in_block.positions),
        "ratings": layout.in_block.sum_of_ratings,
        "duplicates": layout.duplicates.rows,
        "examples": layout.duplicates.examples,
        "degrees": Histogram.of_counts(layout.in_block.counts).as_record(),
    }
    parts = (
        ("columns", block, *record)
        for destination, part in layout.columns.items()
        for record in part.records(destination)
    )
    for record in chain(_records(block, layout, summary), parts):
        yield _as_batch(*record)


def _received(batches: Iterable[pa.RecordBatch]) -> dict[str, list[Any]]:
    """The columns of all batches: ids as codes and a dictionary each, 4 bytes and not 8 or a string; numbers copied.

    No batch is kept: its columns are one piece of memory.
    """
    columns: dict[str, list[Any]] = {}
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns if batch.num_rows else (), strict=False):
            part = column.dictionary_encode() if name in ("user", "item") else as_float32_if_exact(as_numpy(column))
            columns.setdefault(name, []).append(part)
    return columns


def _as_batch(kind: str, block: int, name: str, peer: int, start: int, payload: bytes) -> pa.RecordBatch:
    arrays = [
        as_binary([kind.encode()], pa.string()),
        as_arrow(np.array([block], dtype=np.int32)),
        as_binary([name.encode()], pa.string()),
        as_arrow(np.array([peer], dtype=np.int32)),
        as_arrow(np.array([start], dtype=np.int64)),
        as_binary([payload]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_ARROW_SCHEMA)


def _build_item_block(block: int, received: Iterable[tuple[int, Record]], *, n_user_blocks: int) -> Iterator[_Record]:
    """On an executor: what the user blocks know of one item block becomes its pieces."""
    trim_heap()
    layout = build_column_block(Columns.by_source(record for _, record in received), n_row_blocks=n_user_blocks)
    largest_count = int(positive_counts(layout.in_block).max(initial=0))
    degrees = Histogram.of_counts(layout.in_block.counts).as_record()
    return _records(block, layout, {"rows": len(layout.ids), "largest_count": largest_count, "degrees": degrees})


def _records(block: int, layout: Any, summary: dict[str, Any]) -> Iterator[_Record]:
    yield ("summary", block, "summary", 0, 0, json.dumps(summary).encode())
    for kind, records in (
        ("in", layout.in_block.records()),
        ("out", out_block_records(layout.out_block)),
        ("ids", cut_ids("ids", layout.ids)),
    ):
        for record in records:
            yield (kind, block, *record)


def _write(records: DataFrame, path: str) -> None:
    # Files are read whole: so many pieces are half a gigabyte. No piece comes twice, so a dictionary is for nothing.
    options = {"maxRecordsPerFile": "256", "parquet.enable.dictionary": "false"}
    records.write.mode("overwrite").partitionBy("kind").options(**options).parquet(path)


def _summaries(spark: SparkSession, path: str) -> list[dict[str, Any]]:
    """One small record a block, in the order of the blocks."""
    rows = read_kind(spark, path, "summary").orderBy("block").collect()
    return [json.loads(bytes(row["payload"])) for row in rows]


def _degrees(summaries: Iterable[dict[str, Any]]) -> Histogram:
    return Histogram.merged(Histogram.from_record(summary["degrees"]) for summary in summaries)


def _to_peer_block(sent: tuple[int, Record]) -> tuple[int, Record]:
    """Address a piece to its destination, and let it say where it comes from."""
    block, record = sent
    return record.peer, record._replace(peer=block)


def _partition() -> int:
    context = TaskContext.get()
    assert context is not None  # on an executor there always is one
    return context.partitionId()
