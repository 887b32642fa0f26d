"""Checks interactions, and brings them into one shape: user, item, rating[, weight][, timestamp]."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.types import Int64Array
from wals_spark.blocks.assignment import N_BUCKETS
from wals_spark.errors import InputError
from wals_spark.objective.objective import Decay
from wals_spark.settings.tables import Input
from wals_spark.spark.reading import column_named, id_column, type_of_column, unreadable_is_refused

logger = logging.getLogger("wals_spark")

_MAX_EXAMPLES = 5
_FLOAT32 = np.finfo(np.float32)  # what blocks keep ratings in
_UNOBSERVED = "unobserved"


@dataclass(frozen=True)
class Interactions:
    """Checked interactions, not yet merged: user, item and, as doubles, rating and, where asked, weight and timestamp.

    ``item_costs`` are the rows of each bucket of items (`assignment.bucket_of`), shape (N_BUCKETS,).
    """

    table: DataFrame
    rows: int
    dropped: int
    item_costs: Int64Array


def check(
    raw: DataFrame,
    settings: Input,
    *,
    implicit: bool = True,
    decay: Decay | None = None,
    timed: bool = False,
    section: str = "input",
) -> Interactions:
    """Bring interactions into shape and check them, in one pass, and a second one if rows are bad or left out.

    Explicit ratings (not ``implicit``) may be zero or negative. With ``decay`` the rating of each event decays here,
    before anything merges duplicates. ``timed`` asks for the timestamp; ``section`` is what messages call the settings.

    Raises
    ------
    InputError
        If a column is missing or of the wrong type; if there are no rows, or none that can be used; if there are
        bad rows and the settings do not drop them. It names the counts by reason, and up to five rows each.
    """
    keep_time = timed or settings.duplicates == "last"
    shaped = _shaped(raw, settings, section, timed=keep_time or decay is not None)
    shaped = shaped.withColumn("reason", _reason(shaped.schema, settings, section, implicit=implicit))
    raw.sparkSession.sparkContext.setJobDescription("check the interactions")
    with unreadable_is_refused(settings, section):
        counts = _counted(shaped)
    unobserved = _refuse_or_drop(shaped, counts, settings, section)
    clean = shaped.where(F.col("reason").isNull()).drop("reason")
    if decay is not None:
        reference = counts.newest if decay.reference is None else decay.reference
        clean = clean.withColumn("rating", F.col("rating") * _decayed(decay, reference))
    if not keep_time:
        clean = clean.drop("timestamp")
    return Interactions(clean, counts.good, counts.bad + unobserved, counts.item_costs)


class _Counts(NamedTuple):
    """What one pass counts: good rows by bucket of items, other rows by reason, and the newest time of good rows."""

    item_costs: Int64Array
    by_reason: Counter[str]
    newest: float

    @property
    def good(self) -> int:
        return int(self.item_costs.sum())

    @property
    def bad(self) -> int:
        return sum(n for reason, n in self.by_reason.items() if reason != _UNOBSERVED)


def _counted(shaped: DataFrame) -> _Counts:
    is_good = F.col("reason").isNull()
    newest = F.max(F.when(is_good, F.col("timestamp"))) if "timestamp" in shaped.columns else F.lit(None)
    # Spark has a faster map for one number as the key: bad rows are counted by reason only if there are any.
    bucket = _bucket(shaped.schema["item"].dataType).alias("bucket")
    totals = F.count("*").alias("rows"), F.count_if(is_good).alias("good"), newest.alias("newest")
    buckets: Sequence[Row] = shaped.groupBy(bucket).agg(*totals).collect()
    by_reason: Counter[str] = Counter()
    if any(row["good"] < row["rows"] for row in buckets):
        reasons = shaped.where(~is_good).groupBy("reason").count().collect()
        by_reason.update({row["reason"]: row["count"] for row in reasons})
    item_costs = np.zeros(N_BUCKETS, dtype=np.int64)
    good = [row for row in buckets if row["good"]]  # rows without an item are in a bucket that is null
    for row in good:
        item_costs[row["bucket"]] = row["good"]
    newest_of_all = max((row["newest"] for row in good if row["newest"] is not None), default=0.0)
    return _Counts(item_costs, by_reason, newest_of_all)


def _refuse_or_drop(shaped: DataFrame, counts: _Counts, settings: Input, section: str) -> int:
    """Refuse an input without rows, or with bad rows that the settings do not drop; the number of unobserved rows."""
    source = f"{section}.path = {settings.path}" if settings.path else f"the {section}"
    unobserved, bad, good = counts.by_reason[_UNOBSERVED], counts.bad, counts.good
    if not good + unobserved + bad:
        raise InputError(f"{source} holds no rows")
    if bad:
        reasons = sorted((reason, n) for reason, n in counts.by_reason.items() if reason != _UNOBSERVED)
        message = "; ".join(_with_examples(shaped, reason, n) for reason, n in reasons)
        if settings.bad_rows == "refuse":
            raise InputError(
                f"{bad} of {good + unobserved + bad} rows of {source} cannot be used: "
                f"{message}. Mend them, or set {section}.bad_rows = drop to go on with the rest"
            )
        logger.warning("dropped %d bad rows: %s", bad, message)
    if unobserved:
        logger.info(
            "left out %d rows with a rating of zero or below (%s.nonpositive = unobserved)", unobserved, section
        )
    if not good:
        raise InputError(f"nothing is left of {source} after dropping {bad + unobserved} rows")
    return unobserved


def _bucket(item_type: T.DataType) -> Column:
    """The bucket of an item, as `assignment.bucket_of` has it."""
    item = F.col("item")
    number = F.crc32(item.cast("binary")) if isinstance(item_type, T.StringType) else item.cast("long")
    return F.pmod(number, F.lit(N_BUCKETS))


def _decayed(decay: Decay, reference: float) -> Column:
    """The share of its rating that an event keeps: above 0 even in float32, lest a play become a dislike."""
    age_days = F.greatest(F.lit(reference) - F.col("timestamp"), F.lit(0.0)) / F.lit(86400.0)
    return F.greatest(F.pow(F.lit(0.5), age_days / F.lit(decay.half_life_days)), F.lit(max(decay.floor, 1e-30)))


def _shaped(raw: DataFrame, settings: Input, section: str, *, timed: bool) -> DataFrame:
    """The columns under their own names and types; what cannot be converted becomes null."""
    columns = {role: id_column(raw, f"{section}.{role}", getattr(settings, role)) for role in ("user", "item")}
    if settings.rating:
        type_of_column(raw, f"{section}.rating", settings.rating)
        columns["rating"] = _as_double(raw, settings.rating)
    else:
        columns["rating"] = F.lit(1.0)
    if settings.weight:
        type_of_column(raw, f"{section}.weight", settings.weight)
        columns["weight"] = _as_double(raw, settings.weight)
    if timed:
        type_of_column(raw, f"{section}.timestamp", settings.timestamp)
        columns["timestamp"] = _as_seconds(raw, settings.timestamp)
    return raw.select(*(column.alias(name) for name, column in columns.items()))


def _as_double(raw: DataFrame, name: str) -> Column:
    column_type = raw.schema[name].dataType
    if not isinstance(column_type, (T.NumericType, T.StringType, T.BooleanType)):
        raise InputError(f"column {name} is of type {column_type.simpleString()}: a number is needed")
    quoted = name.replace("`", "``")
    return F.expr(f"try_cast(`{quoted}` as double)")  # text that is no number becomes null, not an error


def _as_seconds(raw: DataFrame, name: str) -> Column:
    column_type = raw.schema[name].dataType
    if isinstance(column_type, T.TimestampType):
        return F.unix_micros(column_named(name)) / F.lit(1e6)
    if isinstance(column_type, (T.DateType, T.TimestampNTZType)):
        return F.unix_micros(column_named(name).cast("timestamp")) / F.lit(1e6)
    number = _as_double(raw, name)
    if isinstance(column_type, T.StringType):
        quoted = name.replace("`", "``")
        return F.coalesce(number, F.expr(f"unix_micros(try_cast(`{quoted}` as timestamp)) / 1e6"))
    return number


def _reason(schema: T.StructType, settings: Input, section: str, *, implicit: bool) -> Column:
    """Why a row cannot be used, or null for a good one."""
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
        # it would become inf, or 0
        beyond = (size > F.lit(float(_FLOAT32.max))) | ((size < F.lit(float(_FLOAT32.tiny))) & (size > 0))
        reason = reason.when(beyond, F.lit(f"{name} beyond the range of float32"))
    if "weight" in schema.names:
        reason = reason.when(F.col("weight") < 0, F.lit("weight below zero"))
    if "timestamp" in schema.names:
        timestamp = F.col("timestamp")
        reason = reason.when(timestamp.isNull() | F.isnan(timestamp), F.lit("no timestamp"))
    if not implicit:
        return reason  # a rating to predict may be anything finite
    if settings.nonpositive == "bad":
        reason = reason.when(F.col("rating") <= 0, F.lit(f"rating zero or below (see {section}.nonpositive)"))
    elif settings.nonpositive == "unobserved":
        reason = reason.when(F.col("rating") <= 0, F.lit(_UNOBSERVED))
    return reason


def _with_examples(shaped: DataFrame, reason: str, count: int) -> str:
    rows = shaped.where(F.col("reason") == reason).drop("reason").limit(_MAX_EXAMPLES).collect()
    examples = ", ".join(str(tuple(row)) for row in rows)
    return f"{count} x {reason}, such as {examples}"
