"""All users solved anew against the items of a model as it lies on storage: one half-iteration and no more.

Interactions are laid out as for training, and blocks, messages and solver are training's own. What differs is where
items come from: the files of a model, whose rows are sent to the blocks that know their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import Accumulator, SparkContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.features import feature_rows
from wals_spark.arrays.types import Float64Array, Int32Array
from wals_spark.blocks.assignment import bucket_of
from wals_spark.blocks.records import Record, cut, cut_ids, group_records, join, join_ids, records_of
from wals_spark.errors import InputError, TrainingError
from wals_spark.objective.objective import Objective
from wals_spark.solvers.half_iteration import EXACT
from wals_spark.spark.training.rdd import Keyed, by_block, materialize, persist, unpersist, zip_partitions
from wals_spark.spark.training.sides import BlockedSide
from wals_spark.spark.training.tasks import (
    HalfIterationTask,
    MergedSummaries,
    Summaries,
    send_block,
    solve_block,
    weight_block,
)

Records = Iterable[tuple[int, Record]]
Sent = Iterator[tuple[int, Record]]


def drop_unknown_items(interactions: DataFrame, user_factors: DataFrame, item_factors: DataFrame) -> DataFrame:
    """The interactions whose item the model has; ids are the model's own, or longer integers.

    Raises
    ------
    InputError
        If ids are strings where the model's are integers, or the other way round.
    """
    for role, table in (("user", user_factors), ("item", item_factors)):
        theirs, ours = interactions.schema[role].dataType, table.schema["id"].dataType
        if isinstance(theirs, T.StringType) != isinstance(ours, T.StringType):
            raise InputError(
                f"input.{role}: its ids are of type {theirs.simpleString()}, the model's of {ours.simpleString()}; "
                "cast the column in the source"
            )
        if theirs != ours:
            interactions = interactions.withColumn(role, F.col(role).cast("bigint"))
    known = item_factors.select(F.col("id").alias("item"))
    return interactions.join(known, on="item", how="left_semi").select(*interactions.columns)


def users_without_interactions(user_factors: DataFrame, interactions: DataFrame) -> DataFrame:
    """The rows of users who have no interaction, with ids of the interactions' type."""
    there = interactions.select(F.col("user").alias("id"))
    ids = F.col("id").cast(interactions.schema["user"].dataType).alias("id")
    return user_factors.join(there, on="id", how="left_anti").select(ids, "features")


def fold_in_users(
    users: BlockedSide,
    items: BlockedSide,
    *,
    block_of_bucket: Int32Array,
    item_factors: str,
    item_weights: str | None,
    gramian: Float64Array,
    objective: Objective,
) -> Keyed:
    """Solve every user's row, exactly, against the items of a model; what comes back is kept until `rdd.unpersist`.

    Parameters
    ----------
    users, items : BlockedSide
        Interactions laid out; each of their items is one of the model's.
    dealt : int32, shape (N_BUCKETS,)
        The block of each bucket of items (`blocking.Blocks`).
    item_factors, item_weights : str
        Where the model's tables are; ``item_weights`` only if the objective has such.
    gramian : float64, shape (width, width)
        Of all items of the model, those that nobody has in these interactions included.

    Raises
    ------
    InputError
        If a user's row has no finite solution: which user.
    """
    sc = users.spark.sparkContext
    in_blocks = users.records("in")
    if item_weights is not None:
        # A weight is 8 bytes; as two numbers of 4 it travels as factors do.
        weights = _sent(users, items, _placed(sc, items, block_of_bucket, item_weights, "weight"), width=2)
        in_blocks = zip_partitions(in_blocks, weights)
    weight_observations = partial(weight_block, side="users", objective=objective)
    weighted = in_blocks.mapPartitionsWithIndex(weight_observations, preservesPartitioning=True)
    received = _sent(users, items, _placed(sc, items, block_of_bucket, item_factors, "features"), width=len(gramian))

    summaries: Accumulator[Summaries] = sc.accumulator({}, MergedSummaries())
    solve = partial(
        solve_block, task=HalfIterationTask(1, "users", objective, summaries, EXACT), gramian=sc.broadcast(gramian)
    )
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


def _sent(users: BlockedSide, items: BlockedSide, rows: Keyed, *, width: int) -> Keyed:
    """To each user block the rows that it needs."""
    send = partial(
        send_block, width=width, unobserved_weight_in_confidence=0.0
    )  # no row is spread here, so nothing is summed
    sent = zip_partitions(items.records("out"), rows).mapPartitionsWithIndex(send)
    return by_block(sent, users.n_blocks)


def _placed(sc: SparkContext, items: BlockedSide, block_of_bucket: Int32Array, path: str, column: str) -> Keyed:
    """A column of a model's table, each block's rows in the order of its ids."""
    files = sc.binaryFiles(path, minPartitions=items.n_blocks)  # to Python as they are: PyArrow reads them there
    rows = files.mapPartitionsWithIndex(partial(_rows_by_block, column=column, block_of_bucket=block_of_bucket))
    records = zip_partitions(items.records("ids"), by_block(rows, items.n_blocks))
    return records.mapPartitionsWithIndex(_place, preservesPartitioning=True)


def _rows_by_block(
    partition: int, files: Iterable[tuple[str, bytes]], *, column: str, block_of_bucket: Int32Array
) -> Sent:
    """Send each row of a model's table, and its id, to the block of that id."""
    batches = (
        batch
        for _, content in files
        for batch in pq.ParquetFile(pa.BufferReader(content)).iter_batches(columns=["id", column])
    )
    for number, batch in enumerate(batches):
        source = (partition << 32) + number  # by which ids and rows find each other
        ids, values = batch.column("id"), batch.column(column)
        rows = feature_rows(values) if pa.types.is_list(values.type) else as_numpy(values)[:, None]
        block_of_row = block_of_bucket[bucket_of(ids)]
        for block in np.unique(block_of_row).tolist():
            chosen = np.flatnonzero(block_of_row == block)
            yield from _keyed(block, cut_ids("model_ids", ids.take(as_arrow(chosen)), peer=source))
            yield from _keyed(block, cut("model_rows", rows[chosen], peer=source))


def _place(block: int, records: Records) -> Sent:
    """Bring what arrived of a model's table into the order of the block's ids; a row is bytes, of whatever type."""
    found = group_records(record for _, record in records)
    wanted = _comparable(join_ids(records_of(found, "ids")))
    sources = sorted(found.get("model_ids", {}))
    if not len(wanted):
        return
    ids = [join_ids(records_of(found, "model_ids", source)) for source in sources]
    rows = [
        join(records_of(found, "model_rows", source), np.uint8).reshape(len(some), -1)
        for source, some in zip(sources, ids, strict=True)
    ]
    positions = pc.index_in(wanted, _comparable(pa.concat_arrays(ids)))
    if positions.null_count:
        raise TrainingError(f"block {block}: {positions.null_count} items are not in the model's table")
    yield from _keyed(block, cut("factors", np.concatenate(rows)[as_numpy(positions)]))


def _comparable(ids: pa.Array) -> pa.Array:
    """Integers of any width are the same ids."""
    return ids.cast(pa.int64()) if pa.types.is_integer(ids.type) else ids


def _keyed(block: int, records: Iterable[Record]) -> Sent:
    return ((block, record) for record in records)
