"""One side's blocks on storage: written once by blocking, read by every stage after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.pieces import Piece, join_ids
from wals_spark.spark.rdd import Keyed, by_block

SCHEMA = "kind string, block int, name string, peer int, start long, payload binary"
"""A piece (`pieces.Piece`), the block it belongs to, and its kind: in, out, ids, columns or summary."""


@dataclass(frozen=True)
class BlockedSide:
    """One side's blocks on storage.

    ``name`` is ``users`` or ``items``, ``rows`` how many there are of them, ``id_type`` the caller's own.
    """

    spark: SparkSession
    name: str
    path: str
    n_blocks: int
    rows: int
    id_type: T.DataType

    def pieces(self, kind: str) -> Keyed:
        """The pieces of one kind (in, out, ids), each block's in its own partition."""
        rows = read_kind(self.spark, self.path, kind).rdd
        return by_block(rows.mapPartitions(_keyed), self.n_blocks)

    def id_of(self, block: int, row: int) -> Any:
        """The id of one row, for a message that has to name it."""
        rows = read_kind(self.spark, self.path, "ids").where((F.col("block") == block) & (F.col("start") <= row))
        found = rows.orderBy(F.col("start").desc()).first()
        if found is None:
            return None
        piece = next(_keyed([found]))[1]
        return join_ids([piece])[row - piece.start].as_py()


def read_kind(spark: SparkSession, path: str, kind: str) -> DataFrame:
    """The records of one kind; only their files are read."""
    return spark.read.schema(SCHEMA).parquet(f"{path}/kind={kind}").drop("kind")


def _keyed(rows: Iterable[Any]) -> Iterator[tuple[int, Piece]]:
    return ((row.block, Piece(row.name, row.peer, row.start, bytes(row.payload))) for row in rows)
