"""Both sides' blocks opened for training: weighed, and rows too long for a task spread over the other side's blocks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from wals_spark.objective.objective import Objective
from wals_spark.solvers.heavy_rows import row_limit
from wals_spark.spark.training.rdd import Keyed, by_block, persist, zip_partitions
from wals_spark.spark.training.sides import BlockedSide
from wals_spark.spark.training.tasks import send_item_weights, send_parts, take_parts, weight_block

logger = logging.getLogger("wals_spark")


class PreparedBlocks(NamedTuple):
    """A side's blocks in memory, once they are computed.

    With ``has_heavy_rows`` some of its rows are summed by the other side's blocks (`spread.py`): the other's out-blocks have
    shares beside them.
    """

    in_blocks: Keyed
    out_blocks: Keyed
    has_heavy_rows: bool


def prepare_blocks(
    users: BlockedSide, items: BlockedSide, objectives: Mapping[str, Objective], *, heavy_row_threshold: int
) -> dict[str, PreparedBlocks]:
    """Open the blocks of ``users`` and of ``items``, to be computed by the first jobs that need them.

    ``heavy_row_threshold`` is the setting: 0 chooses (`spread.row_limit`).
    """
    sides = (users, items)
    limits = {side.name: row_limit(heavy_row_threshold, side.degrees.total, side.n_blocks) for side in sides}
    has_heavy_rows = {side.name: side.degrees.most > limits[side.name] for side in sides}
    in_blocks = {
        side.name: persist(_weighted(side, items, objectives, limits[side.name] if has_heavy_rows[side.name] else None))
        for side in sides
    }
    opened = {}
    for side, other in ((users, items), (items, users)):
        out_blocks = side.records("out")
        if has_heavy_rows[other.name]:
            logger.info(
                "the longest of the %s has %d observations: what has more than %d is summed by the blocks of %s",
                other.name,
                other.degrees.most,
                limits[other.name],
                side.name,
            )
            parts = by_block(in_blocks[other.name].mapPartitionsWithIndex(send_parts), side.n_blocks)
            out_blocks = zip_partitions(out_blocks, parts).mapPartitionsWithIndex(
                take_parts, preservesPartitioning=True
            )
        opened[side.name] = PreparedBlocks(in_blocks[side.name], persist(out_blocks), has_heavy_rows[side.name])
    return opened


def _weighted(side: BlockedSide, items: BlockedSide, objectives: Mapping[str, Objective], limit: int | None) -> Keyed:
    """A side's blocks, weighed. Users get the weights of their items from ``items``, where items have any."""
    objective = objectives[side.name]
    records = side.records("in")
    if side is not items and objective.item_weight.function != "none":
        sent = zip_partitions(items.records("in"), items.records("out")).mapPartitionsWithIndex(
            partial(send_item_weights, objective=objective)
        )
        records = zip_partitions(records, by_block(sent, side.n_blocks))
    weight_observations = partial(weight_block, side=side.name, objective=objective, row_limit=limit)
    return records.mapPartitionsWithIndex(weight_observations, preservesPartitioning=True)
