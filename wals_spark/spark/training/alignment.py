"""The rotation of a trained model towards a stored one, from the items that both have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from wals_spark.arrays.types import Float64Array
from wals_spark.blocks.encoding import Record, group_records, ids_of, join, records_of
from wals_spark.solvers.alignment import cross_product, rotation_of
from wals_spark.spark.training.model_rows import matching_rows, stored_factors
from wals_spark.spark.training.rdd import KeyedRecords, zip_partitions
from wals_spark.spark.training.stored_blocks import Blocks


def rotation_towards(blocks: Blocks, item_factors: KeyedRecords, path: str, rank: int) -> Float64Array | None:
    """The rotation of trained items towards those of the table at ``path``; the driver receives f × f per block.

    None if they have fewer items in common than coordinates, so that a rotation would be arbitrary.
    """
    records = zip_partitions(blocks.items.records("ids"), item_factors, stored_factors(blocks, "items", path))
    blocks.items.spark.sparkContext.setJobDescription("align with the served version")
    parts = sorted(records.mapPartitionsWithIndex(partial(_cross_of_block, rank=rank)).collect())
    if sum(common for _, common, _ in parts) < rank:
        return None
    crosses = [np.frombuffer(cross, dtype=np.float64).reshape(rank, rank) for _, _, cross in parts]
    return rotation_of(np.sum(crosses, axis=0))


def _cross_of_block(
    block: int, records: Iterable[tuple[int, Record]], *, rank: int
) -> Iterator[tuple[int, int, bytes]]:
    grouped = group_records(record for _, record in records)
    ids = ids_of(grouped)
    known, stored = matching_rows(grouped, ids)
    if len(known):
        trained = join(records_of(grouped, "factors"), np.float32).reshape(len(ids), -1)[known]
        yield block, len(known), cross_product(trained, stored, rank).tobytes()
