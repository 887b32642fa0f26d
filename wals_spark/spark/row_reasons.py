"""The shape of interactions, and why a row of them cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError
from wals_spark.messages import quoted
from wals_spark.settings.tables import Input
from wals_spark.spark.columns import Found, column_of, id_column
from wals_spark.spark.reading import MALFORMED
from wals_spark.spark.times import as_seconds

UNOBSERVED = "unobserved"

_FLOAT32 = np.finfo(np.float32)  # what blocks keep ratings in
_SPELLINGS_OF_NULL = ("\\N", "NULL", "Null", "null", "None", "NaN", "nan")
_REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that it cannot read
_TEXT_FORMATS = ("csv", "json", "text", "xml")  # they cannot tell such an id from a null, or from another encoding


@dataclass(frozen=True)
class RowRules:
    """By what rows are judged; ``timed``: by their times, too."""

    settings: Input
    section: str
    implicit: bool
    timed: bool

    @property
    def refuses_suspect_ids(self) -> bool:
        """Whether ids that look like a null or a wrong encoding make a bad row."""
        policy = self.settings.suspect_ids
        return policy == "bad" or (policy == "auto" and self.settings.format.lower() in _TEXT_FORMATS)

    @property
    def time_reason(self) -> str:
        """The reason of times outside of the plausible range."""
        latest = self.settings.latest_time or "tomorrow"
        return f"time before {self.settings.earliest_time} or after {latest}"


def shaped_rows(raw: DataFrame, rules: RowRules) -> DataFrame:
    """The columns under their own names and types, the ``reason`` of a bad row, and ``written``, the row as it was.

    What cannot be converted is null.

    Raises
    ------
    InputError
        If a column is missing or of the wrong type.
    """
    settings, section = rules.settings, rules.section
    named = {role: getattr(settings, role) for role in ("user", "item", "rating", "weight")}
    if rules.timed:
        named["timestamp"] = settings.timestamp
    found = {role: column_of(raw, f"{section}.{role}", name) for role, name in named.items() if name}
    columns = {role: id_column(raw, f"{section}.{role}", named[role]) for role in ("user", "item")}
    columns["rating"] = _as_double(found["rating"]) if settings.rating else F.lit(1.0)
    if settings.weight:
        columns["weight"] = _as_double(found["weight"])
    if rules.timed:
        columns["timestamp"] = as_seconds(found["timestamp"], _as_double, settings.time_unit)
    as_it_was = [column.column.alias(role) for role, column in found.items()]
    if MALFORMED in raw.columns:
        as_it_was.append(F.col(MALFORMED))
    written = F.struct(*as_it_was)
    nulls = {role: found[role].column.isNull() for role in ("user", "item")}
    malformed = F.col(MALFORMED) if MALFORMED in raw.columns else None
    shaped = raw.select(
        *(column.alias(name) for name, column in columns.items()),
        written.alias("written"),
        *(is_null.alias(f"no_{role}") for role, is_null in nulls.items()),
        *([malformed.isNotNull().alias("malformed")] if malformed is not None else []),
    )
    shaped = shaped.withColumn("reason", _reason(shaped.schema, rules))
    return shaped.drop("no_user", "no_item", "malformed")


def is_suspect(schema: T.StructType) -> Column | None:
    """Whether an id of a row spells null or has the sign of a wrong encoding; None if all ids are numbers."""
    conditions = [_is_suspect(role) for role in ("user", "item") if isinstance(schema[role].dataType, T.StringType)]
    return conditions[0] | conditions[-1] if conditions else None


def _is_suspect(role: str) -> Column:
    longest = max(map(len, _SPELLINGS_OF_NULL))  # the number of bytes is there, comparisons take time
    spells_null = (F.octet_length(role) <= longest) & F.col(role).isin(*_SPELLINGS_OF_NULL)
    return spells_null | F.col(role).contains(_REPLACEMENT)


def _as_double(found: Found) -> Column:
    if isinstance(found.type, T.StringType):
        return found.try_cast("double")
    if isinstance(found.type, (T.NumericType, T.BooleanType)):
        return found.column.cast("double")
    raise InputError(f"column {quoted(found.name)} is of type {found.type.simpleString()}: a number is needed")


def _reason(schema: T.StructType, rules: RowRules) -> Column:
    """Why a row cannot be used, or null for a good one."""
    reason = F.when(F.lit(False), F.lit(None).cast("string"))
    for condition, text in _conditions(schema, rules):
        reason = reason.when(condition, F.lit(text))
    return reason


def _conditions(schema: T.StructType, rules: RowRules) -> Iterator[tuple[Column, str]]:
    if "malformed" in schema.names:
        yield F.col("malformed"), "line with another number of columns than the first, or that is no row"
    for role in ("user", "item"):
        yield from _conditions_of_ids(schema, role, rules)
    for role in ("rating", "weight"):
        if role in schema.names:
            yield from _conditions_of_numbers(role)
    if "weight" in schema.names:
        yield F.col("weight") < 0, "weight below zero"
    if "timestamp" in schema.names:
        timestamp, (earliest, latest) = F.col("timestamp"), rules.settings.time_range
        yield timestamp.isNull() | F.isnan(timestamp), "no timestamp"
        yield ~timestamp.between(earliest, latest), rules.time_reason
    if rules.implicit:  # an explicit rating may be anything finite
        yield from _conditions_of_implicit_ratings(rules)


def _conditions_of_ids(schema: T.StructType, role: str, rules: RowRules) -> Iterator[tuple[Column, str]]:
    yield F.col(f"no_{role}"), f"null {role} id"
    if not isinstance(schema[role].dataType, T.StringType):
        yield F.col(role).isNull(), f"{role} id is no whole number of 64 bits"
        return
    yield F.col(role) == "", f"empty {role} id"
    yield ~_is_utf8(F.col(role)), f"{role} id is not UTF-8"
    if rules.refuses_suspect_ids:
        yield (
            _is_suspect(role),
            f"{role} id that spells null or has the sign of a wrong encoding (see {rules.section}.options.nullValue "
            f"and encoding; {rules.section}.suspect_ids = warn takes it for an id)",
        )


def _is_utf8(text: Column) -> Column:
    if hasattr(F, "is_valid_utf8"):
        return F.is_valid_utf8(text)
    return F.encode(F.decode(text.cast("binary"), "UTF-8"), "UTF-8") == text.cast("binary")  # Spark 3.5


def _conditions_of_numbers(role: str) -> Iterator[tuple[Column, str]]:
    number, size = F.col(role), F.abs(F.col(role))
    yield number.isNull(), f"{role} null or not a number"
    yield F.isnan(number) | number.isin(float("inf"), float("-inf")), f"{role} not finite"
    # it would become inf, or 0
    beyond = (size > F.lit(float(_FLOAT32.max))) | ((size < F.lit(float(_FLOAT32.tiny))) & (size > 0))
    yield beyond, f"{role} beyond the range of float32"


def _conditions_of_implicit_ratings(rules: RowRules) -> Iterator[tuple[Column, str]]:
    rating, nonpositive = F.col("rating"), rules.settings.nonpositive
    if nonpositive == "bad":
        yield rating <= 0, f"rating zero or below (see {rules.section}.nonpositive)"
    elif nonpositive == "unobserved":
        yield rating <= 0, UNOBSERVED
    elif nonpositive == "dislike":
        yield (
            rating == 0,
            "rating zero, a dislike without a size, which would weigh nothing (write dislikes as negative ratings, "
            f"or set {rules.section}.nonpositive = impression)",
        )
