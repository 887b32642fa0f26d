"""Prepares the blocks of both sides for training: weights them, and splits heavy rows over the other side's blocks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from wals_spark.objective.objective import Objective
from wals_spark.solvers.heavy_rows import row_limit
from wals_spark.spark.training.rdd import KeyedRecords, by_block, persist, zip_partitions
from wals_spark.spark.training.sending import send_item_weights, send_parts, take_parts
from wals_spark.spark.training.sides import BlockedSide
from wals_spark.spark.training.tasks import weight_block

logger = logging.getLogger("wals_spark")


class PreparedBlocks(NamedTuple):
    """The blocks of a side, persisted when they are computed.

    With ``has_heavy_rows``, the blocks of the other side compute parts of some rows (`solvers/heavy_rows.py`), and
    these parts are beside the other side's out-blocks.
    """

    in_blocks: KeyedRecords
    out_blocks: KeyedRecords
    has_heavy_rows: bool


def prepare_blocks(
    users: BlockedSide, items: BlockedSide, objectives: Mapping[str, Objective], *, heavy_row_threshold: int
) -> dict[str, PreparedBlocks]:
    """Prepare the blocks of ``users`` and ``items``; the first jobs that need them compute them.

    ``heavy_row_threshold`` is the setting: 0 chooses (`heavy_rows.row_limit`).
    """
    sides = (users, items)
    limits = {side.name: row_limit(heavy_row_threshold, side.degrees.total, side.n_blocks) for side in sides}
    has_heavy_rows = {side.name: side.degrees.maximum > limits[side.name] for side in sides}
    in_blocks = {
        side.name: persist(_weighted(side, items, objectives, limits[side.name] if has_heavy_rows[side.name] else None))
        for side in sides
    }
    prepared = {}
    for side, other in ((users, items), (items, users)):
        out_blocks = side.records("out")
        if has_heavy_rows[other.name]:
            logger.info(
                "the largest of the %s has %d observations: blocks of %s compute parts of rows with more than %d",
                other.name,
                other.degrees.maximum,
                side.name,
                limits[other.name],
            )
            parts = by_block(in_blocks[other.name].mapPartitionsWithIndex(send_parts), side.n_blocks)
            out_blocks = zip_partitions(out_blocks, parts).mapPartitionsWithIndex(
                take_parts, preservesPartitioning=True
            )
        prepared[side.name] = PreparedBlocks(in_blocks[side.name], persist(out_blocks), has_heavy_rows[side.name])
    return prepared


def _weighted(
    side: BlockedSide, items: BlockedSide, objectives: Mapping[str, Objective], limit: int | None
) -> KeyedRecords:
    """The weighted blocks of a side. Users receive the weights of their items, where items have weights."""
    objective = objectives[side.name]
    records = side.records("in")
    if side is not items and objective.item_weight.function != "none":
        sent = zip_partitions(items.records("in"), items.records("out")).mapPartitionsWithIndex(
            partial(send_item_weights, objective=objective)
        )
        records = zip_partitions(records, by_block(sent, side.n_blocks))
    weight = partial(weight_block, side=side.name, objective=objective, row_limit=limit)
    return records.mapPartitionsWithIndex(weight, preservesPartitioning=True)
