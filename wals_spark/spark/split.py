"""Splits interactions into parts, each row into one of them: a function of the rows and the seed, not of partitions."""

from __future__ import annotations

import logging
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from wals_spark.errors import InputError
from wals_spark.settings.split import SplitOptions, SplitSettings
from wals_spark.spark.checking import check
from wals_spark.spark.reading import read
from wals_spark.spark.storage import new_folder

logger = logging.getLogger("wals_spark")

TRAIN, TEST, FOLD_IN = "train", "test", "fold_in"
_BINS = 1000  # per pass that searches the moment


class Part(NamedTuple):
    """What a part holds."""

    name: str
    rows: int
    users: int


def run_split(spark: SparkSession, settings: SplitSettings) -> None:
    """Split the interactions that the settings name, and write the parts."""
    # Any finite rating will do: training decides which of them are bad.
    raw, timed = read(spark, settings.input), bool(settings.input.timestamp)
    interactions = check(raw, settings.input, implicit=False, timed=timed)
    logger.info("read %s rows of %s", f"{interactions.rows:,}", settings.input.path)
    path = settings.output.path
    for part in write_parts(spark, split(interactions.table, settings.split), path):
        logger.info("%s/%s: %s rows of %s users", path, part.name, f"{part.rows:,}", f"{part.users:,}")
    logger.info("columns have the names that jobs/train.py expects: input.path=%s/train is all it needs", path)


def split(table: DataFrame, options: SplitOptions) -> DataFrame:
    """Checked interactions (user, item, rating[, weight][, timestamp]) with the ``part`` that each row belongs to.

    By time, the time of a row decides. Otherwise all rows of a pair stay together, so that no pair is both in training
    and in the test. The seed chooses by xxhash64 of (seed, user, item) or (seed, user), ids as text.

    Raises
    ------
    InputError
        If more rows than the share that is asked for have the last moment.
    """
    if options.by == "time":
        moment = options.moment_seconds
        if moment is None:
            moment = last_share_begins(table, options.share)
        return table.withColumn("part", F.when(F.col("timestamp") >= moment, TEST).otherwise(TRAIN))
    seed, user, item = F.lit(options.seed), F.col("user").cast("string"), F.col("item").cast("string")
    whole = table.repartition("user")  # once, for all windows below
    if options.by == "last":
        came = F.max("timestamp").over(Window.partitionBy("user", "item"))
        return _labelled(whole.withColumn("order", -came), F.lit(options.n), options.keep)
    shuffled = whole.withColumn("order", F.xxhash64(seed, user, item))
    if options.by == "random":
        return _labelled(shuffled, _rounded_share(options.share), options.keep)
    held_out = _uniform(F.xxhash64(seed, user)) < options.share
    parts = _labelled(shuffled, _rounded_share(1.0 - options.fold_in_share), options.keep, rest=FOLD_IN)
    return parts.withColumn("part", F.when(held_out, F.col("part")).otherwise(TRAIN))


def last_share_begins(table: DataFrame, share: float) -> float:
    """The earliest moment from which on there are at most ``share`` of the rows, in seconds since 1970.

    Rows are counted in bins of time, then in the bins of the one bin that is divided, and so on: a few passes, and
    at most a thousand counts per pass on the driver.

    Raises
    ------
    InputError
        If there is none, because more rows have the last moment.
    """
    times = table.select("timestamp")
    rows, low, high = times.agg(F.count("*"), F.min("timestamp"), F.max("timestamp")).head() or (0, 0.0, 0.0)
    room, last = int(share * rows), high
    begins = None  # all rows from here on fit into the test
    while low < high:
        inside = times.where(F.col("timestamp").between(low, high))
        number = F.least(F.floor((F.col("timestamp") - low) / ((high - low) / _BINS)), F.lit(_BINS - 1))
        extent = (F.count("*").alias("rows"), F.min("timestamp").alias("low"), F.max("timestamp").alias("high"))
        bins = inside.groupBy(number.alias("bin")).agg(*extent).orderBy(F.desc("bin")).collect()
        for counted in bins:
            if counted["rows"] > room:
                low, high = counted["low"], counted["high"]
                break
            room, begins = room - counted["rows"], counted["low"]
    if begins is None:
        raise InputError(
            f"split.share = {share}: the last moment, {last:.0f} seconds since 1970, alone holds more of the {rows} "
            "rows; are the times real? Set split.moment, or split by = last or random"
        )
    return float(begins)


def write_parts(spark: SparkSession, parts: DataFrame, path: str) -> list[Part]:
    """Write each part to a folder of its name below ``path``, all or nothing.

    Raises
    ------
    ConfigError
        If something is at ``path``.
    InputError
        If a part that is needed would be empty.
    """
    with new_folder(spark, path) as folder:
        spark.sparkContext.setJobDescription("split")
        unmarked = parts.write.mode("append").option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        unmarked.partitionBy("part").parquet(folder.path())
        counts = (F.count("*").alias("rows"), F.countDistinct("user").alias("users"))
        rows = spark.read.parquet(folder.path()).groupBy("part").agg(*counts).collect()
        parts_by_name = {row["part"]: Part(row["part"], row["rows"], row["users"]) for row in rows}
        for name in (TRAIN, TEST):
            if name not in parts_by_name:
                raise InputError(
                    f"split: nothing is left for {name} of {sum(part.rows for part in parts_by_name.values())} rows; "
                    "change the settings of [split]"
                )
        for name in parts_by_name:
            folder.move(folder.path(f"part={name}"), folder.path(name))
    return [parts_by_name[name] for name in (TRAIN, FOLD_IN, TEST) if name in parts_by_name]


def _labelled(table: DataFrame, wanted: Column, keep: int, *, rest: str = TRAIN) -> DataFrame:
    """The first ``wanted`` pairs of each user by ``order`` are the test, if ``keep`` of the user's ``pairs`` remain."""
    by_order = Window.partitionBy("user").orderBy("order", F.desc("item"))  # pairs differ: no ties but within a pair
    numbered = table.withColumn("number", F.dense_rank().over(by_order))
    counted = numbered.withColumn("pairs", F.max("number").over(Window.partitionBy("user")))
    is_test = F.col("number") <= F.least(wanted, F.col("pairs") - keep)
    return counted.withColumn("part", F.when(is_test, TEST).otherwise(rest)).drop("order", "number", "pairs")


def _rounded_share(share: float) -> Column:
    """Of a user's pairs."""
    return F.floor(F.col("pairs") * share + 0.5)


def _uniform(hashed: Column) -> Column:
    """A 64-bit hash as a number from 0 to 1, the latter excluded."""
    return F.shiftrightunsigned(hashed, 11) * 2.0**-53
