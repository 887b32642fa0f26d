"""The blocks of both sides on storage: what is known of them without the interactions that they were built from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from wals_spark.arrays.distribution import Distribution
from wals_spark.arrays.histogram import Histogram
from wals_spark.blocks.assignment import Assignment
from wals_spark.objective.automatic import DataCounts
from wals_spark.spark.training.sides import BlockedSide, read_kind


@dataclass(frozen=True)
class Blocks:
    """The blocks of both sides, built by a ``plan``.

    ``counts`` is without negatives. ``merged`` counts the rows beyond the first of their pair.
    """

    users: BlockedSide
    items: BlockedSide
    counts: DataCounts
    merged: int
    plan: BlockPlan


class BlockPlan(NamedTuple):
    """What is decided before blocks are built: how many, the types of ids, where items go, and added negatives."""

    n_blocks: Mapping[str, int]
    id_types: Mapping[str, T.DataType]
    items_to_blocks: Assignment
    negatives: int = 0

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON, which `from_document` reads."""
        return {
            "n_blocks": dict(self.n_blocks),
            "id_types": {name: json.loads(id_type.json()) for name, id_type in self.id_types.items()},
            "items_to_blocks": self.items_to_blocks.block_of_bucket.tolist(),
            "negatives": self.negatives,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BlockPlan:
        """The plan that `as_document` wrote."""
        types = T.StructType.fromJson(
            {
                "fields": [
                    {"name": name, "type": kind, "nullable": True, "metadata": {}}
                    for name, kind in document["id_types"].items()
                ]
            }
        )
        n_blocks = document["n_blocks"]
        of_items = Assignment(n_blocks["items"], np.array(document["items_to_blocks"], dtype=np.int32))
        return cls(n_blocks, {field.name: field.dataType for field in types}, of_items, document["negatives"])


def open_blocks(spark: SparkSession, folder: str, plan: BlockPlan) -> Blocks:
    """The blocks that were built below a folder by a plan; reads their summaries."""
    summaries = {name: read_summaries(spark, f"{folder}/{name}") for name in ("users", "items")}
    return summarized_blocks(spark, folder, plan, summaries)


def summarized_blocks(
    spark: SparkSession, folder: str, plan: BlockPlan, summaries: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Blocks:
    """The blocks of which these are the summaries, by side."""
    users, items = (
        BlockedSide(
            spark,
            name,
            f"{folder}/{name}",
            plan.n_blocks[name],
            sum(summary["rows"] for summary in of_side),
            plan.id_types[name],
            Histogram.merged(Histogram.from_record(summary["degrees"]) for summary in of_side),
        )
        for name, of_side in summaries.items()
    )
    counts = _counts(users, items, summaries).without_zeros(plan.negatives)
    merged = sum(summary["duplicates"] for summary in summaries["users"])
    return Blocks(users=users, items=items, counts=counts, merged=merged, plan=plan)


def read_summaries(spark: SparkSession, path: str) -> list[dict[str, Any]]:
    """One small record per block of a side, in the order of the blocks."""
    rows = read_kind(spark, path, "summary").orderBy("block").collect()
    return [json.loads(bytes(row["payload"])) for row in rows]


def _counts(users: BlockedSide, items: BlockedSide, summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> DataCounts:
    of_users, of_items = summaries["users"], summaries["items"]
    observations = sum(summary["observations"] for summary in of_users)
    return DataCounts(
        users=users.rows,
        items=items.rows,
        observations=observations,
        ratings=Distribution.merged(Distribution.from_record(summary["ratings"]) for summary in of_users),
        largest_item_count=max(summary["largest_count"] for summary in of_items),
        mean_weight=sum(summary["weight"] for summary in of_users) / max(observations, 1),
    )
