"""Builds the in-blocks and out-blocks of both sides from interactions, and writes them before the first iteration.

Users are shuffled to their blocks once. Each user block is built where it lands, and sends every item block its part
of the matrix. Both are written to storage and read from there ever after: a task that Spark repeats reads the same
rows, whatever has happened to the source since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy
from wals_spark.arrays.dictionary import as_float32_if_exact
from wals_spark.arrays.heap import trim_heap
from wals_spark.arrays.histogram import Histogram
from wals_spark.blocks.assignment import Assignment, assign_by_cost
from wals_spark.blocks.build import ColumnBlock, RowBlock, SentColumns, build_column_block, build_row_block
from wals_spark.blocks.encoding import Record, cut_ids, to_records
from wals_spark.blocks.weighted import positive_counts
from wals_spark.errors import InputError
from wals_spark.solvers.heavy_rows import row_limit
from wals_spark.spark.fingerprint import fingerprint
from wals_spark.spark.training.rdd import by_block
from wals_spark.spark.training.sides import SCHEMA, read_records
from wals_spark.spark.training.stored_blocks import BlockPlan, Blocks, open_blocks, read_summaries

if TYPE_CHECKING:  # executors run functions of this module, and know no settings
    from wals_spark.settings.train import Config
    from wals_spark.spark.checking import Interactions

_HASH = "hash"  # the column of `fingerprint`
_ROWS_PER_BLOCK = 5_000_000  # observations: 40 MB of in-block, a few seconds of one core per half-iteration


def build_blocks(interactions: Interactions, config: Config, folder: str) -> Blocks:
    """Build the blocks of checked interactions as files below ``folder``; reads their table once.

    A number of blocks of 0 is chosen from the rows and the cluster.

    Raises
    ------
    InputError
        If duplicates are refused and there are any: how many, and up to five of the pairs; if the table is not what it
        was when it was checked.
    """
    table, spark = interactions.table, interactions.table.sparkSession
    automatic = max(spark.sparkContext.defaultParallelism, -(-interactions.rows // _ROWS_PER_BLOCK))
    n_users, n_items = config.train.user_blocks or automatic, config.train.item_blocks or automatic
    limit = row_limit(config.train.heavy_row_threshold, interactions.rows, n_items)
    items_to_blocks = assign_by_cost(interactions.item_costs, n_items, row_limit=limit)
    task = partial(_build_user_block, items_to_blocks=items_to_blocks, duplicates=config.input.duplicates)
    user_summaries = _build_user_blocks(interactions, task, n_users, f"{folder}/users")
    refuse_duplicates(config.input.duplicates, user_summaries)

    spark.sparkContext.setJobDescription("build item blocks")
    columns = read_records(spark, f"{folder}/users", "columns", n_users).map(_to_peer_block)
    built = by_block(columns, n_items).mapPartitionsWithIndex(partial(_build_item_block, n_user_blocks=n_users))
    _write(spark.createDataFrame(built, SCHEMA, verifySchema=False), f"{folder}/items")
    types = {name: table.schema[name.removesuffix("s")].dataType for name in ("users", "items")}
    return open_blocks(
        spark, folder, BlockPlan({"users": n_users, "items": n_items}, types, items_to_blocks, interactions.negatives)
    )


def _build_user_blocks(
    interactions: Interactions,
    task: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    n_blocks: int,
    path: str,
) -> list[dict[str, Any]]:
    """Shuffle interactions to the blocks of their users, build and write these; their summaries."""
    spark = interactions.table.sparkSession
    spark.sparkContext.setJobDescription("build user blocks")
    # A partition is a block: Spark keeps the number of partitions that it is told, and one user's rows together. Rows
    # are hashed where they have been shuffled to, so that hashes are not.
    shuffled = interactions.table.repartition(n_blocks, "user").withColumn(_HASH, fingerprint(interactions.hashed))
    _write(shuffled.mapInArrow(task, SCHEMA), path)
    summaries = read_summaries(spark, path)
    _refuse_changed_input(interactions, summaries)
    return summaries


def _refuse_changed_input(interactions: Interactions, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse rows that nobody has checked: the source was written to, or its query gives other rows each time."""
    rows, hashed = (sum(summary[name] for summary in summaries) for name in ("interactions", "fingerprint"))
    if interactions.fingerprint is not None and (rows, hashed) != (interactions.rows, interactions.fingerprint):
        others = ", but not the same ones" if rows == interactions.rows else ""
        raise InputError(
            f"the input changed while it was read: {interactions.rows} rows when it was checked, {rows} when blocks "
            f"were built{others}. Run again when nothing writes to "
            "it; a DataFrame that is computed anew each time (rand, sample without a seed) has to be written first"
        )


def refuse_duplicates(policy: str, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse repeated pairs, if the settings say so; ``summaries`` are those of the blocks of users."""
    rows = sum(summary["duplicates"] for summary in summaries)
    if policy == "refuse" and rows:
        pairs = [tuple(pair) for summary in summaries for pair in summary["examples"]]
        raise InputError(
            f"{rows} rows repeat a (user, item) pair, such as {', '.join(map(str, pairs[:5]))}; "
            "set input.duplicates to sum, mean, last or max to merge them, or to keep"
        )


ARROW_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("block", pa.int32()),
        ("name", pa.string()),
        ("peer", pa.int32()),
        ("start", pa.int64()),
        ("payload", pa.binary()),
    ]
)
_Row = tuple[str, int, str, int, int, bytes]


def _build_user_block(
    batches: Iterable[pa.RecordBatch], *, items_to_blocks: Assignment, duplicates: str
) -> Iterator[pa.RecordBatch]:
    """On an executor: one partition of interactions becomes the records of one user block."""
    trim_heap()
    built = user_block_of(batches, items_to_blocks, duplicates)
    if built is None:
        return
    number, (block, summary) = _partition(), built
    sent = (
        ("columns", number, *record)
        for destination, columns in block.columns.items()
        for record in columns.records(destination)
    )
    for row in chain(rows_of_block(number, block, summary), sent):
        yield as_batch(row)


def user_block_of(
    batches: Iterable[pa.RecordBatch], items_to_blocks: Assignment, duplicates: str
) -> tuple[RowBlock, dict[str, Any]] | None:
    """On an executor: the block of users of one partition of interactions, and its summary; None without any."""
    columns = _received(batches)
    if not columns:
        return None
    hashes, interactions = columns.pop(_HASH, []), sum(map(len, columns["rating"]))
    numbers = {name: np.concatenate(columns.pop(name)) for name in ("rating", "timestamp", "weight") if name in columns}
    block = build_row_block(  # it frees what it is passed as soon as it can, so nothing here refers to it
        pa.chunked_array(columns.pop("user")),
        pa.chunked_array(columns.pop("item")),
        numbers.pop("rating"),
        items_to_blocks,
        duplicates=duplicates,
        timestamps=numbers.pop("timestamp", None),
        weights=numbers.pop("weight", None),
    )
    summary = {
        "rows": len(block.ids),
        "interactions": interactions,
        "fingerprint": sum(int(part.sum(dtype=np.int64)) for part in hashes),
        "observations": len(block.in_block.positions),
        "ratings": block.in_block.rating_distribution.as_record(),
        "weight": block.in_block.total_weight,
        "duplicates": block.duplicates.rows,
        "examples": block.duplicates.examples,
        "degrees": Histogram.of_counts(block.in_block.counts).as_record(),
    }
    return block, summary


def _received(batches: Iterable[pa.RecordBatch]) -> dict[str, list[Any]]:
    """The columns of all batches: ids dictionary-encoded, 4 bytes per row and not 8 or a string; numbers copied.

    No batch is kept: its columns are one piece of memory.
    """
    columns: dict[str, list[Any]] = {}
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns if batch.num_rows else (), strict=False):
            columns.setdefault(name, []).append(_as_received(name, column))
    return columns


def _as_received(name: str, column: pa.Array) -> Any:
    if name in ("user", "item"):
        return column.dictionary_encode()
    return as_numpy(column).copy() if name == _HASH else as_float32_if_exact(as_numpy(column))


def as_batch(row: _Row) -> pa.RecordBatch:
    """One record as a batch of Arrow."""
    kind, block, name, peer, start, payload = row
    arrays = [
        as_binary([kind.encode()], pa.string()),
        as_arrow(np.array([block], dtype=np.int32)),
        as_binary([name.encode()], pa.string()),
        as_arrow(np.array([peer], dtype=np.int32)),
        as_arrow(np.array([start], dtype=np.int64)),
        as_binary([payload]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ARROW_SCHEMA)


def _build_item_block(number: int, received: Iterable[tuple[int, Record]], *, n_user_blocks: int) -> Iterator[_Row]:
    """On an executor: what the user blocks sent to one item block becomes its records."""
    trim_heap()
    block = build_column_block(SentColumns.by_source(record for _, record in received), n_row_blocks=n_user_blocks)
    return rows_of_block(number, block, summary_of_items(block))


def summary_of_items(block: ColumnBlock) -> dict[str, Any]:
    """What the driver needs of a block of items."""
    largest_count = int(positive_counts(block.in_block).max(initial=0))
    degrees = Histogram.of_counts(block.in_block.counts).as_record()
    return {"rows": len(block.ids), "largest_count": largest_count, "degrees": degrees}


def rows_of_block(number: int, block: ColumnBlock, summary: dict[str, Any]) -> Iterator[_Row]:
    """A block and its summary as records."""
    yield ("summary", number, "summary", 0, 0, json.dumps(summary).encode())
    for kind, records in (
        ("in", to_records(block.in_block.arrays())),
        ("out", to_records(block.out_block.arrays())),
        ("ids", cut_ids("ids", block.ids)),
    ):
        for record in records:
            yield (kind, number, *record)


def _write(records: DataFrame, path: str) -> None:
    # Files are read whole: 256 records are half a gigabyte. No payload repeats, so a Parquet dictionary gains nothing.
    options = {"maxRecordsPerFile": "256", "parquet.enable.dictionary": "false"}
    records.write.mode("overwrite").partitionBy("kind").options(**options).parquet(path)


def _to_peer_block(sent: tuple[int, Record]) -> tuple[int, Record]:
    """Address a record to its destination, with its source as the peer."""
    block, record = sent
    return record.peer, record._replace(peer=block)


def _partition() -> int:
    context = TaskContext.get()
    assert context is not None  # on an executor there always is one
    return context.partitionId()
