"""What executors do to evaluate a sample of users in training: draw them, find them in blocks, evaluate a block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.types import AnyArray, Float32Array
from wals_spark.blocks.encoding import Record, join, join_ids
from wals_spark.evaluation.user_sample import UserSample
from wals_spark.spark.training.cache import MISSES, BlockCache, CachedSide
from wals_spark.spark.training.sending import Records

BlockResults = dict[int, tuple[AnyArray, ...] | None]
"""By block, so that a task that Spark runs twice reports once. None: a block's factors are not cached here."""


class MergedResults(AccumulatorParam[BlockResults]):
    """Brings results to the driver with the end of their tasks: a third faster than collecting them."""

    def zero(self, value: BlockResults) -> BlockResults:  # noqa: ARG002
        """No results."""
        return {}

    def addInPlace(self, value1: BlockResults, value2: BlockResults) -> BlockResults:  # noqa: N802  # Spark's name
        """All of both."""
        value1.update(value2)
        return value1


def rows_of_users(batches: Iterable[pa.RecordBatch], *, users: int) -> Iterator[pa.RecordBatch]:
    """From rows (user, hashed, ...): those of the ``users`` users with the smallest hashes, as one row of lists."""
    kept: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        table = table if kept is None else pa.concat_tables([kept, table])
        hashes = as_numpy(table["hashed"])
        limit = np.unique(hashes)[:users][-1:]  # none of an empty batch
        kept = table.filter(pc.less_equal(table["hashed"], int(limit[0]))) if len(limit) else kept
    if kept is not None:
        columns = (column.combine_chunks() for column in kept.combine_chunks().columns)
        offsets = as_arrow(np.array([0, len(kept)], dtype=np.int32))
        lists = [pa.ListArray.from_arrays(offsets, column) for column in columns]
        yield pa.record_batch(lists, names=kept.column_names)


def find_ids(
    record_of_block: tuple[int, Record], *, wanted: Broadcast[pa.Array]
) -> tuple[int, int, list[int], list[int]]:
    """Of a record of ids: its block, the row after its last, the positions in ``wanted`` of ids it has, their rows."""
    block, record = record_of_block
    ids = join_ids([record]).cast(wanted.value.type)
    positions = as_numpy(pc.index_in(ids, value_set=wanted.value), null=-1)
    rows = np.flatnonzero(positions >= 0)
    return block, record.start + len(ids), positions[rows].tolist(), (rows + record.start).tolist()


@dataclass(frozen=True)
class SampleTask:
    """All that a task needs to evaluate a sample on a block of items; ``users`` are the factors of its users.

    Where item factors are ``cached``, tasks receive no records of them.
    """

    sample: Broadcast[UserSample]
    users: Float32Array
    results: Accumulator[BlockResults]
    cached: CachedSide | None = None


def evaluate_block(block: int, records: Records, *, task: SampleTask) -> Iterator[NoReturn]:
    """Report what a block of items contributes to the metric."""
    received = join((record for _, record in records), np.float32).reshape(-1, task.users.shape[1])
    cached, items = task.cached, None
    with suppress(*MISSES):
        items = received if cached is None else BlockCache.at(cached.locations[block]).factors(cached.step)
    task.results.add({block: None if items is None else task.sample.value.of_block(block, task.users, items)})
    return iter(())
