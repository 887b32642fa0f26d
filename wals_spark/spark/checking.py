"""Checks interactions, and brings them into one shape: user, item, rating[, weight][, timestamp]."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from wals_spark.spark.aliases import with_aliases_replaced
from wals_spark.spark.columns import bucket_column
from wals_spark.spark.fingerprint import fingerprint
from wals_spark.spark.reading import MALFORMED, unreadable_is_refused
from wals_spark.spark.row_reasons import UNOBSERVED, RowRules, is_suspect, shaped_rows
from wals_spark.spark.times import as_date, fitting_unit

logger = logging.getLogger("wals_spark")

_MAX_EXAMPLES = 5
_HASHED = ("user", "item", "rating", "weight", "timestamp")


@dataclass(frozen=True)
class Interactions:
    """Checked interactions, not yet merged: user, item and, as doubles, rating and, where asked, weight and timestamp.

    ``item_costs`` are the rows of each bucket of items (`assignment.bucket_of`), shape (N_BUCKETS,). ``fingerprint`` is
    of all rows over the ``hashed`` columns (`fingerprint.py`); None: another pass is not compared with this one.
    ``negatives`` of the rows were added (`hard_negatives.py`). ``times`` are the earliest and the newest time, if
    times were read, in seconds since 1970, ``largest_rating`` the largest magnitude of one, before it decays.
    """

    table: DataFrame
    rows: int
    dropped: int
    item_costs: Int64Array
    fingerprint: int | None = None
    hashed: tuple[str, ...] = ("user", "item")
    negatives: int = 0
    times: tuple[float, float] = (0.0, 0.0)
    largest_rating: float = 0.0

    @property
    def id_types(self) -> tuple[T.DataType, T.DataType]:
        """The types of the ids of users and of items."""
        return self.table.schema["user"].dataType, self.table.schema["item"].dataType

    def with_rows(self, table: DataFrame) -> Interactions:
        """The same with the rows of another table, which need no check; they are counted."""
        totals = (F.count("*").alias("rows"), F.sum(fingerprint(self.hashed)).alias("fingerprint"))
        buckets = (
            table.groupBy(bucket_column(F.col("item"), table.schema["item"].dataType).alias("bucket"))
            .agg(*totals)
            .collect()
        )
        item_costs = np.zeros(N_BUCKETS, dtype=np.int64)
        for row in buckets:
            item_costs[row["bucket"]] = row["rows"]
        hashes = sum(row["fingerprint"] for row in buckets)
        return replace(self, table=table, rows=int(item_costs.sum()), item_costs=item_costs, fingerprint=hashes)

    def plus(self, other: Interactions) -> Interactions:
        """The rows of both, which have the same columns; another pass is compared if both have a fingerprint."""
        compared = None not in (self.fingerprint, other.fingerprint)
        return replace(
            self,
            table=self.table.unionByName(other.table),
            rows=self.rows + other.rows,
            dropped=self.dropped + other.dropped,
            item_costs=self.item_costs + other.item_costs,
            fingerprint=(self.fingerprint or 0) + (other.fingerprint or 0) if compared else None,
        )


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
    rules = RowRules(settings, section, implicit=implicit, timed=keep_time or decay is not None)
    raw.sparkSession.sparkContext.setJobDescription("check the interactions")
    with unreadable_is_refused(settings, section):
        shaped = shaped_rows(raw, rules)
        if settings.aliases.path:
            shaped = with_aliases_replaced(shaped, settings.aliases, f"{section}.aliases")
        changes = {"rating": decay is not None, "timestamp": not keep_time}  # after this pass
        hashed = tuple(name for name in _HASHED if name in shaped.columns and not changes.get(name))
        counts = _counted(shaped, hashed)
    _log_schema(shaped, counts, rules)
    unobserved = _refuse_or_drop(shaped, counts, rules)
    clean = _good_rows(shaped, all_good=not counts.by_reason)
    clean = weighed_by_age(clean, decay, counts.newest, keep_time=keep_time)
    times = (counts.earliest, counts.newest)
    dropped, item_costs = counts.bad + unobserved, counts.item_costs
    return Interactions(
        clean, counts.good, dropped, item_costs, counts.fingerprint, hashed, times=times, largest_rating=counts.largest
    )


def judged_rows(raw: DataFrame, settings: Input, *, implicit: bool) -> DataFrame:
    """Interactions in their shape, with a column ``is_odd``: whether a row is bad, or suspect, or left out.

    Raises
    ------
    InputError
        If a column is missing or of the wrong type.
    """
    rules = RowRules(settings, "input", implicit=implicit, timed=settings.duplicates == "last")
    shaped = shaped_rows(raw, rules)
    if settings.aliases.path:
        shaped = with_aliases_replaced(shaped, settings.aliases, "input.aliases")
    is_odd, suspect = F.col("reason").isNotNull(), is_suspect(shaped.schema)
    shaped = shaped.withColumn("is_odd", is_odd if suspect is None else is_odd | suspect)
    return shaped.drop("reason", "written")


def weighed_by_age(table: DataFrame, decay: Decay | None, newest: float, *, keep_time: bool) -> DataFrame:
    """The rows with ratings that have decayed until the ``newest``, or until the time that the settings say."""
    if decay is not None:
        reference = newest if decay.reference is None else decay.reference
        table = table.withColumn("rating", F.col("rating") * _decayed(decay, reference))
    return table if keep_time else table.drop("timestamp")


def _good_rows(shaped: DataFrame, *, all_good: bool) -> DataFrame:
    """The rows to use. If all are, the next pass need not judge them again: by `fingerprint` they are the same."""
    good = shaped.dropna(subset=["user", "item"]) if all_good else shaped.where(F.col("reason").isNull())
    return good.drop("reason", "written")


class _Counts(NamedTuple):
    """What one pass counts: good rows by bucket of items, other rows by reason, and more of the good rows."""

    item_costs: Int64Array
    by_reason: Counter[str]
    suspect: int
    earliest: float
    newest: float
    fingerprint: int
    largest: float

    @property
    def good(self) -> int:
        return int(self.item_costs.sum())

    @property
    def bad(self) -> int:
        return sum(n for reason, n in self.by_reason.items() if reason != UNOBSERVED)


def _counted(shaped: DataFrame, hashed: Sequence[str]) -> _Counts:
    is_good = F.col("reason").isNull()
    timestamp = F.when(is_good, F.col("timestamp")) if "timestamp" in shaped.columns else F.lit(None).cast("double")
    suspect = is_suspect(shaped.schema)
    totals = (
        F.count("*").alias("rows"),
        F.count_if(is_good).alias("good"),
        F.sum(F.when(is_good, fingerprint(hashed))).alias("fingerprint"),
        (F.lit(0) if suspect is None else F.count_if(is_good & suspect)).alias("suspect"),
        F.min(timestamp).alias("earliest"),
        F.max(timestamp).alias("newest"),
        F.max(F.when(is_good, F.abs("rating"))).alias("largest"),
    )
    # Spark has a faster map for one number as the key: bad rows are counted by reason only if there are any.
    bucket = bucket_column(F.col("item"), shaped.schema["item"].dataType).alias("bucket")
    buckets: Sequence[Row] = shaped.groupBy(bucket).agg(*totals).collect()
    by_reason: Counter[str] = Counter()
    if any(row["good"] < row["rows"] for row in buckets):
        reasons = shaped.where(~is_good).groupBy("reason").count().collect()
        by_reason.update({row["reason"]: row["count"] for row in reasons})
    item_costs = np.zeros(N_BUCKETS, dtype=np.int64)
    good = [row for row in buckets if row["good"]]  # rows without an item are in a bucket that is null
    for row in good:
        item_costs[row["bucket"]] = row["good"]
    times = [(row["earliest"], row["newest"]) for row in good if row["newest"] is not None] or [(0.0, 0.0)]
    return _Counts(
        item_costs,
        by_reason,
        sum(row["suspect"] for row in good),
        min(earliest for earliest, _ in times),
        max(newest for _, newest in times),
        sum(row["fingerprint"] for row in good),
        max((row["largest"] for row in good), default=0.0),
    )


def _log_schema(shaped: DataFrame, counts: _Counts, rules: RowRules) -> None:
    """Log how the input was understood, and what is odd about it."""
    names = {role: getattr(rules.settings, role) for role in shaped.columns if hasattr(rules.settings, role)}
    types = {field.name: field.dataType.simpleString() for field in shaped.schema}
    columns = [f"{role} {name!r} {types[role]}" if name else f"{role} 1" for role, name in names.items()]
    times = f", from {as_date(counts.earliest)} to {as_date(counts.newest)}" if "timestamp" in names else ""
    logger.info("%s: %s%s", rules.section, ", ".join(columns), times)
    suspect = is_suspect(shaped.schema)
    if counts.suspect and suspect is not None:
        examples = _examples(shaped, F.col("reason").isNull() & suspect)
        logger.warning(
            "%d rows have an id that spells null or has the sign of a wrong encoding (U+FFFD), such as %s; they are "
            "used as they are (%s.suspect_ids = bad makes them bad rows)", counts.suspect, examples, rules.section,
        )  # fmt: skip


def _refuse_or_drop(shaped: DataFrame, counts: _Counts, rules: RowRules) -> int:
    """Refuse an input without rows, or with bad rows that the settings do not drop; the number of unobserved rows."""
    settings, section = rules.settings, rules.section
    source = settings.named(section)
    unobserved, bad, good = counts.by_reason[UNOBSERVED], counts.bad, counts.good
    if not good + unobserved + bad:
        raise InputError(f"{source} holds no rows")
    if bad:
        reasons = sorted((reason, n) for reason, n in counts.by_reason.items() if reason != UNOBSERVED)
        message = "; ".join(_with_examples(shaped, reason, n, rules) for reason, n in reasons)
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


def _decayed(decay: Decay, reference: float) -> Column:
    """The share of its rating that an event keeps: above 0 even in float32, lest a play become a dislike."""
    age_days = F.greatest(F.lit(reference) - F.col("timestamp"), F.lit(0.0)) / F.lit(86400.0)
    return F.greatest(F.pow(F.lit(0.5), age_days / F.lit(decay.half_life_days)), F.lit(max(decay.floor, 1e-30)))


def _with_examples(shaped: DataFrame, reason: str, count: int, rules: RowRules) -> str:
    has_reason = F.col("reason") == reason
    advice = ""
    if reason == rules.time_reason:
        extent = shaped.where(has_reason).agg(F.min("timestamp"), F.max("timestamp")).head() or (0.0, 0.0)
        advice = f" ({fitting_unit(extent[0], extent[1], rules.settings, rules.section)})"
    return f"{count} x {reason}{advice}, such as {_examples(shaped, has_reason)}"


def _examples(shaped: DataFrame, condition: Column) -> str:
    """Up to five rows as they were written."""
    rows = shaped.where(condition).select("written.*").limit(_MAX_EXAMPLES).collect()
    return ", ".join(str(_as_written(row.asDict())) for row in rows)


def _as_written(row: dict[str, object]) -> tuple[object, ...]:
    """The values of a row, or the line that has no row."""
    line = row.pop(MALFORMED, None)
    values = (value if isinstance(value, str | int | float | None) else str(value) for value in row.values())
    return tuple(values) if line is None else (line,)
