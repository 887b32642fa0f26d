"""Interactions read from anywhere, checked, and brought into one shape: user, item, rating[, weight][, timestamp]."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.types import Int64Array
from wals_spark.blocks.assignment import N_BUCKETS
from wals_spark.errors import InputError
from wals_spark.objective.objective import Decay
from wals_spark.settings.tables import Ids, Input
from wals_spark.spark.histories import in_type_of

logger = logging.getLogger("wals_spark")

_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_MAX_EXAMPLES = 5
_FLOAT32 = np.finfo(np.float32)  # what blocks keep ratings in
_UNOBSERVED = "unobserved"
_BROKEN_FILE = (
    "FAILED_READ_FILE",
    "Encountered error while reading file",
    "CANNOT_READ_FILE_FOOTER",
    "is not a Parquet file",
    "MALFORMED",
)


@dataclass(frozen=True)
class Ratings:
    """Clean interactions, not yet merged: user, item and, as doubles, rating and, where asked, weight and timestamp.

    ``item_costs`` are the rows of each bucket of items (`buckets.bucket_of`), shape (N_BUCKETS,).
    """

    table: DataFrame
    rows: int
    dropped: int
    item_costs: Int64Array


def read(spark: SparkSession, settings: Input | Ids, *, section: str = "input") -> DataFrame:
    """The raw table that the settings name; ``section`` is what messages call them.

    Raises
    ------
    InputError
        If there is no such path, table or format, or it cannot be opened.
    """
    with _unreadable_is_refused(settings, section):
        if settings.format == "table":
            return spark.table(settings.path)
        return spark.read.format(settings.format).options(**settings.options).load(settings.path)


def read_ids(spark: SparkSession, settings: Ids, factors: DataFrame, *, section: str) -> DataFrame:
    """A table of ids, each once, as ``id`` in the type of those of ``factors``; nulls are left out.

    Raises
    ------
    InputError
        If it cannot be read, or has no such column of ids, or they are of another kind than the model's.
    """
    raw = read(spark, settings, section=section)
    setting = f"{section}.column"
    ids = raw.select(_id_column(raw, setting, settings.column).alias("id")).dropna()
    return in_type_of(ids, "id", factors, setting=f"{setting} = {settings.column}").distinct()


@contextmanager
def _unreadable_is_refused(settings: Input | Ids, section: str) -> Iterator[None]:
    """What is wrong with the input is an InputError; an executor that was lost meanwhile stays what it is."""
    try:
        yield
    except (AnalysisException, Py4JJavaError) as error:
        first_line = str(error).strip().splitlines()[0]
        if isinstance(error, Py4JJavaError):
            first_line = str(error.java_exception).splitlines()[0]
            broken_file = any(name in str(error) for name in _BROKEN_FILE)
            if "SparkException" in first_line and not broken_file:
                raise
        raise InputError(
            f"{section}.path = {settings.path} (format {settings.format}) cannot be read: {first_line}"
        ) from error


def check(
    raw: DataFrame,
    settings: Input,
    *,
    implicit: bool = True,
    decay: Decay | None = None,
    timed: bool = False,
    section: str = "input",
) -> Ratings:
    """Bring the interactions into shape and judge them, in one pass, and a second if rows are bad or left out.

    Explicit ratings (not ``implicit``) may be zero or negative. With ``decay`` each event's rating fades here, before
    anything merges duplicates. ``timed`` asks for the timestamp; ``section`` is what messages call the settings.

    Raises
    ------
    InputError
        If a column is missing or of the wrong type; if there are no rows, or none that can be used; if there are
        bad rows and the settings do not drop them. It names the counts by reason, and up to five rows each.
    """
    kept = timed or settings.duplicates == "last"
    shaped = _shaped(raw, settings, section, timed=kept or decay is not None)
    shaped = shaped.withColumn("reason", _reason(shaped.schema, settings, section, implicit=implicit))
    raw.sparkSession.sparkContext.setJobDescription("check the interactions")
    with _unreadable_is_refused(settings, section):
        is_good = F.col("reason").isNull()
        newest = F.max(F.when(is_good, F.col("timestamp"))) if "timestamp" in shaped.columns else F.lit(None)
        # Spark has a faster map for one number as the key: what is bad is counted by reason only if there is any.
        buckets = (
            shaped.groupBy(_bucket(shaped.schema["item"].dataType).alias("bucket"))
            .agg(F.count("*").alias("rows"), F.count_if(is_good).alias("good"), newest.alias("newest"))
            .collect()
        )
        by_reason: Counter[str] = Counter()
        if any(bucket["good"] < bucket["rows"] for bucket in buckets):
            reasons = shaped.where(~is_good).groupBy("reason").count().collect()
            by_reason.update({row["reason"]: row["count"] for row in reasons})
    item_costs = np.zeros(N_BUCKETS, dtype=np.int64)
    for bucket in buckets:
        if bucket["good"]:  # there is a bucket of no number, of rows without an item
            item_costs[bucket["bucket"]] = bucket["good"]
    good = int(item_costs.sum())
    unobserved = by_reason.pop(_UNOBSERVED, 0)
    bad = sum(by_reason.values())
    if not good + unobserved + bad:
        raise InputError(f"{section}.path = {settings.path} holds no rows")
    if bad:
        message = "; ".join(_with_examples(shaped, reason, count) for reason, count in sorted(by_reason.items()))
        if settings.bad_rows == "refuse":
            raise InputError(
                f"{bad} of {good + unobserved + bad} rows of {section}.path = {settings.path} cannot be used: "
                f"{message}. Mend them, or set {section}.bad_rows = drop to go on with the rest"
            )
        logger.warning("dropped %d bad rows: %s", bad, message)
    if unobserved:
        logger.info(
            "left out %d rows with a rating of zero or below (%s.nonpositive = unobserved)", unobserved, section
        )
    if not good:
        raise InputError(f"nothing is left of {section}.path = {settings.path} after dropping {bad + unobserved} rows")
    clean = shaped.where(F.col("reason").isNull()).drop("reason")
    if decay is not None:
        reference = decay.reference
        if reference is None:
            reference = max(bucket["newest"] for bucket in buckets if bucket["good"])
        clean = clean.withColumn("rating", F.col("rating") * _faded(decay, reference))
    if not kept:
        clean = clean.drop("timestamp")
    return Ratings(clean, good, bad + unobserved, item_costs)


def _bucket(item_type: T.DataType) -> Column:
    """The bucket of an item, as `buckets.bucket_of` has it."""
    item = F.col("item")
    number = F.crc32(item.cast("binary")) if isinstance(item_type, T.StringType) else item.cast("long")
    return F.pmod(number, F.lit(N_BUCKETS))


def _faded(decay: Decay, reference: float) -> Column:
    """The share of its rating that an event keeps: above 0 even in float32, lest a play become a dislike."""
    age_days = F.greatest(F.lit(reference) - F.col("timestamp"), F.lit(0.0)) / F.lit(86400.0)
    return F.greatest(F.pow(F.lit(0.5), age_days / F.lit(decay.half_life_days)), F.lit(max(decay.floor, 1e-30)))


def _shaped(raw: DataFrame, settings: Input, section: str, *, timed: bool) -> DataFrame:
    """The columns under their own names and types; what cannot be converted becomes null."""
    columns = {role: _id_column(raw, f"{section}.{role}", getattr(settings, role)) for role in ("user", "item")}
    if settings.rating:
        _require(raw, f"{section}.rating", settings.rating)
        columns["rating"] = _as_double(raw, settings.rating)
    else:
        columns["rating"] = F.lit(1.0)
    if settings.weight:
        _require(raw, f"{section}.weight", settings.weight)
        columns["weight"] = _as_double(raw, settings.weight)
    if timed:
        _require(raw, f"{section}.timestamp", settings.timestamp)
        columns["timestamp"] = _as_seconds(raw, settings.timestamp)
    return raw.select(*(column.alias(name) for name, column in columns.items()))


def _require(raw: DataFrame, setting: str, name: str) -> T.DataType:
    if name not in raw.columns:
        raise InputError(
            f"{setting} = {name}: there is no such column; the input has {', '.join(raw.columns) or 'none'}"
        )
    return raw.schema[name].dataType


def _id_column(raw: DataFrame, setting: str, name: str) -> Column:
    found = _require(raw, setting, name)
    if not isinstance(found, (T.StringType, *_INTEGERS)):
        raise InputError(
            f"{setting} = {name} is of type {found.simpleString()}: ids are strings or integers up to 64 bits; "
            "cast the column in the source"
        )
    return _column(name)


def _column(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _as_double(raw: DataFrame, name: str) -> Column:
    found = raw.schema[name].dataType
    if not isinstance(found, (T.NumericType, T.StringType, T.BooleanType)):
        raise InputError(f"column {name} is of type {found.simpleString()}: a number is needed")
    quoted = name.replace("`", "``")
    return F.expr(f"try_cast(`{quoted}` as double)")  # text that is no number becomes null, not an error


def _as_seconds(raw: DataFrame, name: str) -> Column:
    found = raw.schema[name].dataType
    if isinstance(found, T.TimestampType):
        return F.unix_micros(_column(name)) / F.lit(1e6)
    if isinstance(found, (T.DateType, T.TimestampNTZType)):
        return F.unix_micros(_column(name).cast("timestamp")) / F.lit(1e6)
    number = _as_double(raw, name)
    if isinstance(found, T.StringType):
        quoted = name.replace("`", "``")
        return F.coalesce(number, F.expr(f"unix_micros(try_cast(`{quoted}` as timestamp)) / 1e6"))
    return number


def _reason(schema: T.StructType, settings: Input, section: str, *, implicit: bool) -> Column:
    """Why a row cannot be used, or null for a good one."""
    rating = F.col("rating")
    reason = F.when(F.lit(False), F.lit(None).cast("string"))
    for name in ("user", "item"):
        reason = reason.when(F.col(name).isNull(), F.lit(f"null {name} id"))
        if isinstance(schema[name].dataType, T.StringType):
            reason = reason.when(F.col(name) == "", F.lit(f"empty {name} id"))
    for name in ("rating", "weight"):
        if name not in schema.names:
            continue
        number, size = F.col(name), F.abs(F.col(name))
        reason = reason.when(number.isNull(), F.lit(f"{name} null or not a number"))
        reason = reason.when(F.isnan(number) | number.isin(float("inf"), float("-inf")), F.lit(f"{name} not finite"))
        beyond = (size > F.lit(float(_FLOAT32.max))) | (
            (size < F.lit(float(_FLOAT32.tiny))) & (size > 0)
        )  # would become inf, or 0
        reason = reason.when(beyond, F.lit(f"{name} beyond the range of float32"))
    if "weight" in schema.names:
        reason = reason.when(F.col("weight") < 0, F.lit("weight below zero"))
    if "timestamp" in schema.names:
        timestamp = F.col("timestamp")
        reason = reason.when(timestamp.isNull() | F.isnan(timestamp), F.lit("no timestamp"))
    if not implicit:
        return reason  # a rating to predict may be anything finite
    if settings.nonpositive == "bad":
        reason = reason.when(rating <= 0, F.lit(f"rating zero or below (see {section}.nonpositive)"))
    elif settings.nonpositive == "unobserved":
        reason = reason.when(rating <= 0, F.lit(_UNOBSERVED))
    return reason


def _with_examples(shaped: DataFrame, reason: str, count: int) -> str:
    rows = shaped.where(F.col("reason") == reason).drop("reason").limit(_MAX_EXAMPLES).collect()
    examples = ", ".join(str(tuple(row)) for row in rows)
    return f"{count} x {reason}, such as {examples}"
