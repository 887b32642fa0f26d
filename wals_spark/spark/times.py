"""Times of rows as seconds since 1970, and the unit that implausible ones may be in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.settings.tables import Input
from wals_spark.spark.columns import Found

_PER_SECOND = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}


def as_seconds(found: Found, as_double: Callable[[Found], Column], unit: str) -> Column:
    """A column of times as seconds since 1970; ``unit`` is that of numbers."""
    if isinstance(found.type, T.TimestampType):
        return F.unix_micros(found.column) / F.lit(1e6)
    if isinstance(found.type, (T.DateType, T.TimestampNTZType)):
        return F.unix_micros(found.column.cast("timestamp")) / F.lit(1e6)
    number = as_double(found) / F.lit(_PER_SECOND[unit])
    if isinstance(found.type, T.StringType):
        return F.coalesce(number, F.unix_micros(found.try_cast("timestamp")) / F.lit(1e6))
    return number


def as_date(seconds: float) -> str:
    """The day, in UTC, of seconds since 1970."""
    try:
        return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%d")
    except OverflowError:
        return f"{seconds:g} seconds since 1970"


def fitting_unit(earliest: float, latest: float, settings: Input, section: str) -> str:
    """What to do about times from ``earliest`` to ``latest``, which are not plausible as they were read."""
    low, high = settings.time_range
    for unit, per_second in _PER_SECOND.items():
        factor = per_second / _PER_SECOND[settings.time_unit]
        if factor != 1 and low <= earliest / factor and latest / factor <= high:
            return f"as {unit} they would fit: {section}.time_unit = {unit}"
    extent = f"from {as_date(earliest)} to {as_date(latest)}"
    return f"{extent}; if they are right, set {section}.earliest_time or latest_time"
