"""Blocks without Spark: built from arrays by the functions that executors run, through the records they travel in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from wals_spark.arrays.types import AnyArray, Float32Array, Float64Array
from wals_spark.blocks.assignment import N_BUCKETS, assign_by_cost
from wals_spark.blocks.build import (
    ColumnBlock,
    Duplicates,
    RowBlock,
    SentColumns,
    build_column_block,
    build_row_block,
)
from wals_spark.blocks.encoding import Record, RecordArrays, cut, group_records, to_records
from wals_spark.blocks.in_out import InBlock, OutBlock
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.objective.objective import Objective
from wals_spark.solvers.gramian import merged
from wals_spark.solvers.half_iteration import BlockSummary


class Interactions(NamedTuple):
    """Users, items and ratings side by side, each of shape (n_interactions,); ids are strings or integers."""

    users: Sequence[Any] | AnyArray
    items: Sequence[Any] | AnyArray
    ratings: Sequence[float] | AnyArray
    timestamps: Sequence[float] | AnyArray | None = None
    weights: Sequence[float] | AnyArray | None = None


@dataclass
class LocalSide:
    """One side in training: lists have one entry per block, ``weighted`` one per objective."""

    name: str
    ids: list[pa.Array]
    in_blocks: list[InBlock]
    out_blocks: list[OutBlock]
    factors: list[Float32Array] = field(default_factory=list)
    summaries: dict[int, BlockSummary] = field(default_factory=dict)
    weighted: dict[Objective, list[WeightedBlock]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The number of rows in all blocks."""
        return sum(len(ids) for ids in self.ids)

    def gramian(self, width: int) -> Float64Array:
        """Of the current factors, shape (width, width)."""
        return merged({block: summary.gramian for block, summary in self.summaries.items()}, width)

    def by_id(self) -> dict[Any, Float32Array]:
        """The row of factors of each id."""
        return {
            row_id: row
            for ids, factors in zip(self.ids, self.factors, strict=True)
            for row_id, row in zip(ids.to_pylist(), factors, strict=True)
        }


def build_blocks(
    interactions: Interactions, *, user_blocks: int = 1, item_blocks: int = 1, duplicates: str = "sum"
) -> tuple[LocalSide, LocalSide, Duplicates]:
    """Build the blocks of users and of items; ``duplicates`` is as in `blocks.build.build_row_block`."""
    users, items = pa.array(interactions.users), pa.array(interactions.items)
    numbers = (None if values is None else np.asarray(values, dtype=np.float64) for values in interactions[2:])
    ratings, timestamps, weights = numbers
    assert ratings is not None  # only the others may be missing
    no_costs = np.zeros(N_BUCKETS, dtype=np.int64)
    items_to_blocks = assign_by_cost(no_costs, item_blocks)
    block_of_user = assign_by_cost(no_costs, user_blocks).block_of(users)
    rows: list[RowBlock] = []
    sent: list[list[Record]] = [[] for _ in range(item_blocks)]
    for number in range(user_blocks):
        mask = block_of_user == number
        block = build_row_block(
            pa.chunked_array([users.filter(pa.array(mask))]),
            pa.chunked_array([items.filter(pa.array(mask))]),
            ratings[mask],
            items_to_blocks,
            duplicates=duplicates,
            timestamps=None if timestamps is None else timestamps[mask],
            weights=None if weights is None else weights[mask],
        )
        rows.append(block)
        for destination, columns in block.columns.items():
            sent[destination] += [record._replace(peer=number) for record in columns.records(destination)]
    item_side = [build_column_block(SentColumns.by_source(records), n_row_blocks=user_blocks) for records in sent]
    examples = tuple(pair for block in rows for pair in block.duplicates.examples)
    merged_rows = sum(block.duplicates.rows for block in rows)
    return _side("users", rows), _side("items", item_side), Duplicates(merged_rows, examples)


def _side(name: str, blocks: Sequence[ColumnBlock]) -> LocalSide:
    sources = [
        RecordArrays(group_records(to_records([*block.in_block.arrays(), *block.out_block.arrays()])))
        for block in blocks
    ]
    return LocalSide(
        name=name,
        ids=[block.ids for block in blocks],
        in_blocks=[InBlock.read(source) for source in sources],
        out_blocks=[OutBlock.read(source) for source in sources],
    )


def sent_rows(out_blocks: Sequence[OutBlock], rows: Sequence[AnyArray], n_destinations: int) -> list[list[Record]]:
    """The records that each destination block receives of ``rows``, which has those of each source block."""
    received: list[list[Record]] = [[] for _ in range(n_destinations)]
    for source, out_block in enumerate(out_blocks):
        for destination, needed in out_block.items():
            received[destination] += cut("received", rows[source][needed], peer=source)
    return received
