"""Batch fold-in: solves all users of new interactions against the items of a stored model, in one half-iteration.

Blocks are built from the interactions as for training, and records and solver are those of training. Only the source
of the item factors differs: they are read from the model's files and sent to the blocks that have their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import Accumulator
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.features import feature_rows
from wals_spark.arrays.types import Float64Array
from wals_spark.blocks.assignment import Assignment
from wals_spark.blocks.encoding import cut, cut_ids, group_records, ids_of, join, keyed, records_of
from wals_spark.errors import InputError, TrainingError
from wals_spark.objective.objective import Objective
from wals_spark.solvers.half_iteration import EXACT
from wals_spark.spark.training.rdd import KeyedRecords, by_block, materialize, persist, unpersist, zip_partitions
from wals_spark.spark.training.sending import Records, Sent, send_block
from wals_spark.spark.training.stored_blocks import Blocks
from wals_spark.spark.training.tasks import (
    HalfIterationTask,
    MergedSummaries,
    Summaries,
    solve_block,
    weight_block,
)


def drop_unknown_items(interactions: DataFrame, user_factors: DataFrame, item_factors: DataFrame) -> DataFrame:
    """The interactions whose item the model has; ids are of the model's type, or wider integers.

    Raises
    ------
    InputError
        If ids are strings where the model's are integers, or the other way round.
    """
    for role, table in (("user", user_factors), ("item", item_factors)):
        input_type, model_type = interactions.schema[role].dataType, table.schema["id"].dataType
        if isinstance(input_type, T.StringType) != isinstance(model_type, T.StringType):
            raise InputError(
                f"input.{role}: its ids are of type {input_type.simpleString()}, the model's of "
                f"{model_type.simpleString()}; cast the column in the source"
            )
        if input_type != model_type:
            interactions = interactions.withColumn(role, F.col(role).cast("bigint"))
    known = item_factors.select(F.col("id").alias("item"))
    return interactions.join(known, on="item", how="left_semi").select(*interactions.columns)


def users_without_interactions(user_factors: DataFrame, interactions: DataFrame) -> DataFrame:
    """The rows of users who have no interaction, with ids of the interactions' type."""
    active = interactions.select(F.col("user").alias("id"))
    ids = F.col("id").cast(interactions.schema["user"].dataType).alias("id")
    return user_factors.join(active, on="id", how="left_anti").select(ids, "features")


def fold_in_users(
    blocks: Blocks, *, item_factors: str, item_weights: str | None, gramian: Float64Array, objective: Objective
) -> KeyedRecords:
    """Solve the row of every user, exactly, against the items of a model; persisted until `rdd.unpersist`.

    All items of the interactions are in the model. ``item_factors`` and, where popularity weighs, ``item_weights`` are
    the paths of its tables; ``gramian`` (width, width) is of all its items.

    Raises
    ------
    InputError
        If the row of a user has no finite solution: which user.
    """
    users, sc = blocks.users, blocks.users.spark.sparkContext
    in_blocks = users.records("in")
    if item_weights is not None:
        # A weight is 8 bytes; as two numbers of 4 it travels as factors do.
        weights = _sent(blocks, _model_rows(blocks, item_weights, "weight"), width=2)
        in_blocks = zip_partitions(in_blocks, weights)
    weight = partial(weight_block, side="users", objective=objective)
    weighted = in_blocks.mapPartitionsWithIndex(weight, preservesPartitioning=True)
    received = _sent(blocks, _model_rows(blocks, item_factors, "features"), width=len(gramian))

    summaries: Accumulator[Summaries] = sc.accumulator({}, MergedSummaries())
    task = HalfIterationTask(1, "users", objective, summaries, EXACT)
    solve = partial(solve_block, task=task, gramian=sc.broadcast(gramian))
    factors = persist(zip_partitions(weighted, received).mapPartitionsWithIndex(solve, preservesPartitioning=True))
    sc.setJobDescription("fold in users")
    materialize(factors)
    for (_, block), summary in sorted(summaries.value.items()):
        if summary is not None and summary.failed_row >= 0:
            unpersist(factors)
            raise InputError(
                f"user {users.id_of(block, summary.failed_row)!r} cannot be folded in: {summary.failure}. "
                "Look for extreme ratings"
            )
    return factors


def _sent(blocks: Blocks, rows: KeyedRecords, *, width: int) -> KeyedRecords:
    """To each user block the rows that it needs."""
    # No row is heavy here, so no partial normal equations are sent.
    send = partial(send_block, width=width, unobserved_weight_in_confidence=0.0)
    sent = zip_partitions(blocks.items.records("out"), rows).mapPartitionsWithIndex(send)
    return by_block(sent, blocks.users.n_blocks)


def _model_rows(blocks: Blocks, path: str, column: str) -> KeyedRecords:
    """A column of a model's table, the rows of each item block in the order of its ids."""
    items, sc = blocks.items, blocks.items.spark.sparkContext
    files = sc.binaryFiles(path, minPartitions=items.n_blocks)  # to Python as they are: PyArrow reads them there
    address = partial(_rows_by_block, column=column, items_to_blocks=blocks.plan.items_to_blocks)
    rows = by_block(files.mapPartitionsWithIndex(address), items.n_blocks)
    records = zip_partitions(items.records("ids"), rows)
    return records.mapPartitionsWithIndex(_in_order_of_ids, preservesPartitioning=True)


def _rows_by_block(
    partition: int, files: Iterable[tuple[str, bytes]], *, column: str, items_to_blocks: Assignment
) -> Sent:
    """Send each row of a model's table, and its id, to the block of that id."""
    for number, batch in enumerate(_batches(files, column)):
        source = (partition << 32) + number  # by which ids and rows find each other
        ids, values = batch.column("id"), batch.column(column)
        rows = feature_rows(values) if pa.types.is_list(values.type) else as_numpy(values)[:, None]
        block_of_row = items_to_blocks.block_of(ids)
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
    wanted = _comparable(ids_of(grouped))
    sources = sorted(grouped.get("model_ids", {}))
    if not len(wanted):
        return
    ids = [ids_of(grouped, "model_ids", source) for source in sources]
    rows = [
        join(records_of(grouped, "model_rows", source), np.uint8).reshape(len(source_ids), -1)
        for source, source_ids in zip(sources, ids, strict=True)
    ]
    positions = pc.index_in(wanted, _comparable(pa.concat_arrays(ids)))
    if positions.null_count:
        raise TrainingError(f"block {block}: {positions.null_count} items are not in the model's table")
    yield from keyed(block, cut("factors", np.concatenate(rows)[as_numpy(positions)]))


def _comparable(ids: pa.Array) -> pa.Array:
    """Integers of any width are the same ids."""
    return ids.cast(pa.int64()) if pa.types.is_integer(ids.type) else ids
