"""What RDDs of blocks need beyond PySpark's own methods."""

from __future__ import annotations

from typing import Any

from pyspark import RDD, StorageLevel

from wals_spark.blocks.encoding import Record

KeyedRecords = RDD[tuple[int, Record]]
"""Records by the number of the block that they belong to; partition b holds block b and nothing else."""


def block_number(key: int) -> int:
    """The partitioner of every RDD here: one function object, so that Spark knows them to be partitioned alike."""
    return key


def by_block(records: KeyedRecords, n_blocks: int) -> KeyedRecords:
    """Shuffle records to their blocks.

    `partitionBy` labels its output as of another serializer, whose format is the same.
    """
    shuffled = records.partitionBy(n_blocks, block_number)
    return _same_partitions(shuffled._jrdd, shuffled)


def zip_partitions(*parts: KeyedRecords) -> KeyedRecords:
    """Partition b of all parts, one after the other, as one partition b: no shuffle, and one task reads all of them.

    Spark unions RDDs of one partitioner so (PartitionerAwareUnionRDD). PySpark's own `union` does the same after a
    dozen calls to the JVM, a millisecond each, and forgets the partitioner.
    """
    united = parts[0]._jrdd
    for part in parts[1:]:
        united = united.union(part._jrdd)
    return _same_partitions(united, parts[0])


def colocated_empty(records: KeyedRecords) -> KeyedRecords:
    """As many empty partitions, computed where those of ``records`` are."""
    return _same_partitions(records._jrdd.sample(False, 0.0), records)


def persist(records: KeyedRecords) -> KeyedRecords:
    """Keep computed partitions in memory, and on disk where memory is full, until `unpersist`.

    Not serialized: to the JVM these are byte arrays, which serializing would only copy.
    """
    return records.persist(StorageLevel.MEMORY_AND_DISK_DESER)


def materialize(records: RDD[Any]) -> None:
    """Compute (and persist) every partition, without sending anything through Python for it."""
    records._jrdd.count()


def unpersist(records: RDD[Any]) -> None:
    """Drop persisted partitions.

    PySpark's `unpersist` does the same and warns each time that a lineage cut off before is gone.
    """
    records.ctx._jsc.sc().unpersistRDD(records.id(), False)
    records.is_cached = False


def delete_shuffle_files(records: RDD[Any]) -> None:
    """Delete the shuffle files behind an RDD now; Spark by itself waits for a garbage collection of the driver."""
    records._jrdd.rdd().cleanShuffleDependencies(False)


def _same_partitions(jrdd: Any, like: KeyedRecords) -> KeyedRecords:
    """The JVM's RDD as records in the context's own serializer and in the partitions of ``like``."""
    same: KeyedRecords = RDD(jrdd, like.ctx, like.ctx.serializer)
    same.partitioner = like.partitioner
    return same
