"""Batch fold-in: solves all users of new interactions against the items of a stored model, in one half-iteration.

Blocks are built from the interactions as for training, and records and solver are those of training. Only the source
of the item factors differs: they are read from the model's files and sent to the blocks that have their ids.
"""

from __future__ import annotations

from functools import partial

from pyspark import Accumulator
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.types import Float64Array
from wals_spark.errors import InputError
from wals_spark.objective.objective import Objective
from wals_spark.solvers.half_iteration import EXACT
from wals_spark.spark.training.model_rows import item_rows
from wals_spark.spark.training.rdd import KeyedRecords, by_block, materialize, persist, unpersist, zip_partitions
from wals_spark.spark.training.sending import send_block
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
        weights = _sent(blocks, item_rows(blocks, item_weights, "weight"), width=2)
        in_blocks = zip_partitions(in_blocks, weights)
    weight = partial(weight_block, side="users", objective=objective)
    weighted = in_blocks.mapPartitionsWithIndex(weight, preservesPartitioning=True)
    received = _sent(blocks, item_rows(blocks, item_factors, "features"), width=len(gramian))

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
