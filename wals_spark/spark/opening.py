"""Both sides' blocks opened for training: weighed, and rows too long for a task spread over the other side's blocks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from wals_spark.objective import Objective
from wals_spark.spark.rdd import Keyed, by_block, kept, side_by_side
from wals_spark.spark.sides import BlockedSide
from wals_spark.spark.tasks import send_item_weights, send_parts, take_parts, weigh_block
from wals_spark.spread import row_limit

logger = logging.getLogger("wals_spark")


class OpenedBlocks(NamedTuple):
    """A side's blocks in memory, once they are computed.

    With ``is_spread`` some of its rows are summed by the other side's blocks (`spread.py`): the other's out-blocks have
    shares beside them.
    """

    in_blocks: Keyed
    out_blocks: Keyed
    is_spread: bool


def open_blocks(
    users: BlockedSide, items: BlockedSide, objectives: Mapping[str, Objective], *, spread_above: int
) -> dict[str, OpenedBlocks]:
    """Open the blocks of ``users`` and of ``items``, to be computed by the first jobs that need them.

    ``spread_above`` is the setting: 0 chooses (`spread.row_limit`).
    """
    sides = (users, items)
    limits = {side.name: row_limit(spread_above, side.degrees.total, side.n_blocks) for side in sides}
    is_spread = {side.name: side.degrees.most > limits[side.name] for side in sides}
    in_blocks = {
        side.name: kept(_weighed(side, items, objectives, limits[side.name] if is_spread[side.name] else None))
        for side in sides
    }
    opened = {}
    for side, other in ((users, items), (items, users)):
        out_blocks = side.pieces("out")
        if is_spread[other.name]:
            logger.info(
                "the longest of the %s has %d observations: what has more than %d is summed by the blocks of %s",
                other.name,
                other.degrees.most,
                limits[other.name],
                side.name,
            )
            parts = by_block(in_blocks[other.name].mapPartitionsWithIndex(send_parts), side.n_blocks)
            out_blocks = side_by_side(out_blocks, parts).mapPartitionsWithIndex(take_parts, preservesPartitioning=True)
        opened[side.name] = OpenedBlocks(in_blocks[side.name], kept(out_blocks), is_spread[side.name])
    return opened


def _weighed(side: BlockedSide, items: BlockedSide, objectives: Mapping[str, Objective], limit: int | None) -> Keyed:
    """A side's blocks, weighed. Users get the weights of their items from ``items``, where items have any."""
    objective = objectives[side.name]
    pieces = side.pieces("in")
    if side is not items and objective.item_weight.function != "none":
        sent = side_by_side(items.pieces("in"), items.pieces("out")).mapPartitionsWithIndex(
            partial(send_item_weights, objective=objective)
        )
        pieces = side_by_side(pieces, by_block(sent, side.n_blocks))
    weigh = partial(weigh_block, side=side.name, objective=objective, row_limit=limit)
    return pieces.mapPartitionsWithIndex(weigh, preservesPartitioning=True)
