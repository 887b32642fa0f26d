"""Draws the users that a training is evaluated on, and finds them and their items in blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.types import Int64Array
from wals_spark.spark.sample_tasks import find_ids, rows_of_users
from wals_spark.spark.training.sides import BlockedSide, read_records

Id = str | int


class DrawnUser(NamedTuple):
    """A user, the items and ratings of the rows that the user holds out, the items in training, and the candidates."""

    id: Id
    held_out: list[tuple[Id, float]]
    seen: list[Id]
    candidates: Sequence[Id] = ()

    @property
    def unseen(self) -> list[Id]:
        """The held-out items that are not in training, each once, ascending."""
        return sorted({item for item, _ in self.held_out}.difference(self.seen))


def draw_users(
    test: DataFrame, training: DataFrame, users: int, seed: int, candidates: DataFrame | None = None
) -> list[DrawnUser]:
    """The users of the test with the smallest hashes; one pass over each table finds their rows."""
    by_hash = F.xxhash64(F.lit(seed), F.col("user").cast("string")).alias("hashed")
    tested = _rows_of_users(test.select("user", "item", "rating", by_hash), users)
    hash_of_user = dict(zip(tested["user"], tested["hashed"], strict=True))
    limit = sorted(set(hash_of_user.values()))[:users][-1]
    seen, listed = (_items_of_users(table, by_hash, limit, users) for table in (training, candidates))
    held_out: dict[Id, list[tuple[Id, float]]] = defaultdict(list)
    for user, item, rating in zip(tested["user"], tested["item"], tested["rating"], strict=True):
        held_out[user].append((item, rating))
    drawn = (user for user, hashed in hash_of_user.items() if hashed <= limit)
    return [DrawnUser(user, sorted(held_out[user]), sorted(seen[user]), sorted(listed[user])) for user in drawn]


def _items_of_users(table: DataFrame | None, by_hash: Column, limit: int, users: int) -> dict[Id, set[Id]]:
    """The items of each of the users whose hash is at most ``limit``."""
    items: dict[Id, set[Id]] = defaultdict(set)
    if table is not None:
        rows = _rows_of_users(table.select("user", "item", by_hash).where(F.col("hashed") <= limit), users)
        for user, item in zip(rows["user"], rows["item"], strict=True):
            items[user].add(item)
    return items


def _rows_of_users(rows: DataFrame, users: int) -> dict[str, list[Any]]:
    """The columns of the rows of some users, at least of the ``users`` with the smallest hashes."""
    schema = T.StructType([T.StructField(f.name, T.ArrayType(f.dataType)) for f in rows.schema.fields])
    parts = rows.mapInArrow(partial(rows_of_users, users=users), schema).collect()
    return {name: [value for part in parts for value in part[name]] for name in rows.columns}


class Found(NamedTuple):
    """Ids in the blocks of a side, whose rows are numbered block by block.

    ``number_of`` has the ids that there are; block b has the rows ``first[b]`` to ``first[b + 1]``.
    """

    number_of: dict[Id, int]
    first: Int64Array

    def by_block(self, numbers: Int64Array) -> dict[int, Int64Array]:
        """Rows of blocks, by block; ``numbers`` are ascending."""
        blocks = np.searchsorted(self.first, numbers, side="right") - 1
        return {int(block): numbers[blocks == block] - self.first[block] for block in np.unique(blocks)}


def find(side: BlockedSide, ids: Sequence[Id]) -> Found:
    """Look ids up in all blocks, where their records lie: nothing is shuffled."""
    sc = side.spark.sparkContext
    sent = sc.broadcast(pa.array(ids))
    found = read_records(side.spark, side.path, "ids", side.n_blocks).map(partial(find_ids, wanted=sent)).collect()
    sent.destroy()
    rows = np.zeros(side.n_blocks, dtype=np.int64)
    for block, end, *_ in found:
        rows[block] = max(rows[block], end)
    first = np.concatenate([[0], np.cumsum(rows)])
    number_of = {
        ids[position]: int(first[block] + row)
        for block, _, positions, rows_of_ids in found
        for position, row in zip(positions, rows_of_ids, strict=True)
    }
    return Found(number_of, first)
