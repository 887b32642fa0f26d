"""Pairs of queries and what they have seen, beside the queries: packed into a few large rows before they are shuffled.

A row of Spark per pair takes longer to shuffle, and to reach Python, than the ranking takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.arrays.arrow import as_arrow, as_binary, as_numpy
from wals_spark.arrays.sorting import stable_argsort
from wals_spark.arrays.types import Indices, Int32Array, Int64Array
from wals_spark.blocks.assignment import bucket_of
from wals_spark.blocks.encoding import as_stream
from wals_spark.ranking.top_k import ItemLists
from wals_spark.spark.columns import bucket_column

_PAIRS_PER_PACK = 2_000_000  # 16 bytes each and less while they are packed


class QueriesWithSeen(NamedTuple):
    """Queries (id, features), and what they have seen: parts of pairs of a query's row and a dictionary-encoded id."""

    queries: pa.Table
    rows: list[Indices]
    seen: list[pa.DictionaryArray]

    def lists(self, positions_of: Callable[[pa.Array], Int32Array]) -> ItemLists:
        """The positions of what each query has seen; ``positions_of`` ids, -1 for unknown ones, which are left out."""
        parts = [positions_of(part.dictionary)[as_numpy(part.indices)] for part in self.seen]
        positions = np.concatenate([np.empty(0, dtype=np.int32), *parts])
        rows = np.concatenate([np.empty(0, dtype=np.int64), *self.rows])
        known = positions >= 0
        rows, positions = rows[known], positions[known]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(self.queries)))])
        return ItemLists(indptr.astype(np.int64), positions[stable_argsort(rows)].astype(np.int32))


def beside_seen(queries: DataFrame, pairs: DataFrame, *, by: str, seen: str, n_partitions: int) -> DataFrame:
    """Rows of ``queries`` (id, features) in ``n_partitions``, and their pairs with them: for `unpacked_seen`.

    ``by`` and ``seen`` are the columns of ``pairs`` that have the query and what it has seen.
    """
    keys = _keys_of_partitions(n_partitions)
    of_pairs = pairs.select(F.col(by).alias("query"), F.col(seen).alias("seen"))
    packed = of_pairs.mapInArrow(partial(_packed, n_partitions=n_partitions), "partition int, packed binary")
    bucket = bucket_column(F.col("id"), queries.schema["id"].dataType)
    rows = queries.select("id", "features", F.pmod(bucket, F.lit(n_partitions)).cast("int").alias("partition"))
    key = F.element_at(F.array(*map(F.lit, keys)), F.col("partition") + 1)
    union = rows.unionByName(packed, allowMissingColumns=True)
    return union.withColumn("partition", key).repartition(n_partitions, "partition")


def unpacked_seen(batches: Iterable[pa.RecordBatch]) -> QueriesWithSeen | None:
    """On an executor: a partition of `beside_seen`; None if it has no query."""
    parts, rows, seen = [], [], []
    streams: list[pa.Buffer] = []
    for batch in batches:
        is_query = batch.column("features").is_valid()
        parts.append(batch.select(["id", "features"]).filter(is_query))
        streams += [value.as_buffer() for value in batch.column("packed").filter(pc.invert(is_query))]
    queries = pa.Table.from_batches(parts).combine_chunks() if parts else None
    if queries is None or not len(queries):
        return None
    ids = queries.column("id").combine_chunks()
    for stream in streams:
        (pairs,) = pa.ipc.open_stream(stream)  # one batch
        users, items = pairs.column("query"), pairs.column("seen")
        row_of_distinct = as_numpy(pc.index_in(users.dictionary, value_set=ids), null=-1)
        row = row_of_distinct[as_numpy(users.indices)]
        known = row >= 0
        rows.append(row[known])
        seen.append(items.filter(pa.array(known)) if not known.all() else items)
    return QueriesWithSeen(queries, rows, seen)


def _packed(batches: Iterable[pa.RecordBatch], *, n_partitions: int) -> Iterator[pa.RecordBatch]:
    """On an executor: pairs become an Arrow stream per partition and some millions of them."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        waiting.append(batch)
        n_waiting += batch.num_rows
        if n_waiting >= _PAIRS_PER_PACK:
            yield from _pack(waiting, n_partitions)
            waiting, n_waiting = [], 0
    if n_waiting:
        yield from _pack(waiting, n_partitions)


def _pack(batches: list[pa.RecordBatch], n_partitions: int) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches(batches)
    columns = {name: table.column(name).combine_chunks().dictionary_encode() for name in ("query", "seen")}
    query = columns["query"]
    partition = (bucket_of(query.dictionary) % n_partitions).astype(np.uint16)[as_numpy(query.indices)]
    order = stable_argsort(partition)
    bounds = np.searchsorted(partition[order], np.arange(n_partitions + 1))
    for number in range(n_partitions):
        rows = order[bounds[number] : bounds[number + 1]]
        if len(rows):
            taken = [_compacted(column, rows) for column in columns.values()]
            stream = as_stream(pa.record_batch(taken, names=list(columns)))
            numbers = as_arrow(np.array([number], dtype=np.int32))
            yield pa.record_batch([numbers, as_binary([stream])], names=["partition", "packed"])


def _compacted(column: pa.DictionaryArray, rows: Int64Array) -> pa.DictionaryArray:
    """Some rows of a column, with the part of its dictionary that they use."""
    indices = as_numpy(column.indices)[rows]
    used = np.zeros(len(column.dictionary), dtype=bool)
    used[indices] = True
    new_index = np.cumsum(used, dtype=np.int32) - 1
    dictionary = column.dictionary.filter(pa.array(used))
    return pa.DictionaryArray.from_arrays(as_arrow(new_index[indices].astype(np.int32)), dictionary)


def _keys_of_partitions(n_partitions: int) -> list[int]:
    """An integer per partition that Spark, whose partition is that of a hash, puts there."""
    keys: dict[int, int] = {}
    for key in itertools.count():
        keys.setdefault(_spark_hash(key) % n_partitions, key)
        if len(keys) == n_partitions:
            return [keys[number] for number in range(n_partitions)]
    raise AssertionError("unreachable")


def _spark_hash(value: int) -> int:
    """Spark's hash of an int: Murmur3 (x86, 32 bits) of its four bytes with the seed 42, as a signed number."""
    mask = 0xFFFFFFFF

    def rotated(number: int, bits: int) -> int:
        return (number << bits | number >> (32 - bits)) & mask

    mixed = rotated(value * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
    h = (rotated(42 ^ mixed, 13) * 5 + 0xE6546B64) & mask
    h ^= 4
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    h ^= h >> 16
    return h - (1 << 32) if h & 0x80000000 else h
