"""The few things that RDDs of blocks need and PySpark has no word for."""

from __future__ import annotations

from typing import Any

from pyspark import RDD, StorageLevel

from wals_spark.blocks.records import Record

Keyed = RDD[tuple[int, Record]]
"""Pieces by the number of the block they belong to; partition b holds block b and nothing else."""


def block_number(key: int) -> int:
    """The partitioner of every RDD here: one function object, so that Spark knows them to be partitioned alike."""
    return key


def by_block(records: Keyed, n_blocks: int) -> Keyed:
    """Shuffle pieces to their blocks.

    `partitionBy` labels its output as of another serializer, whose format is the same.
    """
    shuffled = records.partitionBy(n_blocks, block_number)
    return _same_partitions(shuffled._jrdd, shuffled)


def zip_partitions(*parts: Keyed) -> Keyed:
    """Partition b of all parts, one after the other, as one partition b: no shuffle, a task reads all of them.

    Spark unions RDDs of one partitioner so (PartitionerAwareUnionRDD). PySpark's own `union` does the same after a
    dozen questions to the JVM, a millisecond each, and forgets the partitioner.
    """
    united = parts[0]._jrdd
    for part in parts[1:]:
        united = united.union(part._jrdd)
    return _same_partitions(united, parts[0])


def colocated_empty(records: Keyed) -> Keyed:
    """As many partitions with nothing in them, to be computed where those of ``records`` are."""
    return _same_partitions(records._jrdd.sample(False, 0.0), records)


def persist(records: Keyed) -> Keyed:
    """Keep what is computed, in memory and beyond it on disk, until `unpersist`.

    As it is: to the JVM these are byte arrays, which serializing would only copy.
    """
    return records.persist(StorageLevel.MEMORY_AND_DISK_DESER)


def materialize(records: RDD[Any]) -> None:
    """Compute (and keep) every partition, without sending anything through Python for it."""
    records._jrdd.count()


def unpersist(records: RDD[Any]) -> None:
    """Drop what is kept.

    `unpersist` does the same and warns, each time, that a history cut off before is gone now.
    """
    records.ctx._jsc.sc().unpersistRDD(records.id(), False)
    records.is_cached = False


def delete_shuffle_files(records: RDD[Any]) -> None:
    """Delete the shuffle files behind an RDD now; Spark by itself waits for a garbage collection of the driver."""
    records._jrdd.rdd().cleanShuffleDependencies(False)


def _same_partitions(jrdd: Any, like: Keyed) -> Keyed:
    """An RDD of the JVM's, of pieces in the context's own serializer and in the partitions of ``like``."""
    same: Keyed = RDD(jrdd, like.ctx, like.ctx.serializer)
    same.partitioner = like.partitioner
    return same
