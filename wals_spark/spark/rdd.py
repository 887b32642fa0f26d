"""The few things that RDDs of blocks need and PySpark has no word for."""

from __future__ import annotations

from typing import Any

from pyspark import RDD, StorageLevel

from wals_spark.pieces import Piece

Keyed = RDD[tuple[int, Piece]]
"""Pieces by the number of the block they belong to; partition b holds block b and nothing else."""


def block_number(key: int) -> int:
    """The partitioner of every RDD here: one function object, so that Spark knows them to be partitioned alike."""
    return key


def by_block(pieces: Keyed, n_blocks: int) -> Keyed:
    """Shuffle pieces to their blocks."""
    return _plainly_serialized(pieces.partitionBy(n_blocks, block_number))


def side_by_side(*parts: Keyed) -> Keyed:
    """Partition b of all parts, one after the other, as one partition b: no shuffle, a task reads all of them.

    Spark unions RDDs of one partitioner so (PartitionerAwareUnionRDD).
    """
    united: Keyed = parts[0].ctx.union(list(parts))
    united.partitioner = parts[0].partitioner  # which Spark keeps, and PySpark forgets
    return united


def kept(pieces: Keyed) -> Keyed:
    """Keep what is computed, in memory and beyond it on disk, until `free`.

    As it is: to the JVM these are byte arrays, which serializing would only copy.
    """
    return pieces.persist(StorageLevel.MEMORY_AND_DISK_DESER)


def compute(pieces: RDD[Any]) -> None:
    """Compute (and keep) every partition, without sending anything through Python for it."""
    pieces._jrdd.count()


def free(pieces: RDD[Any]) -> None:
    """Drop what is kept.

    `unpersist` does the same and warns, each time, that a history cut off before is gone now.
    """
    pieces.ctx._jsc.sc().unpersistRDD(pieces.id(), False)
    pieces.is_cached = False


def free_shuffles(pieces: RDD[Any]) -> None:
    """Delete the shuffle files behind an RDD now; Spark by itself waits for a garbage collection of the driver."""
    pieces._jrdd.rdd().cleanShuffleDependencies(False)


def _plainly_serialized(pieces: Keyed) -> Keyed:
    """Read a shuffle's output with the context's own serializer, whose format is the same.

    `partitionBy` labels its output otherwise, and `union` would then send all of it through Python once more.
    """
    same: Keyed = RDD(pieces._jrdd, pieces.ctx, pieces.ctx.serializer)
    same.partitioner = pieces.partitioner
    return same
