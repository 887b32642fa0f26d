"""What a night's data looks like in a few numbers, and whether that is like the data of the last published runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from statistics import median
from typing import Any

import msgspec

from wals_spark.settings.retrain import Data

DAYS = 30
REFERENCES = 7
"""How many of the last published runs tonight's counts are compared with, by their median."""


class DataFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The data of one night; shares are of its rows, times in seconds since 1970. It names no id.

    Numbers of users and items are within two percent; shares, quantiles and days are of a sample of 300,000 rows.

    Attributes
    ----------
    rows, dropped : int
        Rows that are used, and bad rows.
    merged_share : float
        Of rows that repeat a (user, item) pair, within two percent.
    user_share, item_share : float
        Of the user, and of the item, with most rows.
    known_users, known_items : float or None
        Of rows whose user, and whose item, the served version has; None without one.
    ratings, times : dict
        Quantiles of the ratings' magnitudes (``median``, ``p90``, ``most``) and of the times (``p10``, ``median``).
    served_lift, own_lift : float or None
        By how much the served version, and the model trained tonight, scores tonight's test pairs higher than the users
        of these with the items of others; None if it was not measured.
    days : dict
        Rows per day (UTC) of the last `DAYS` days that have any.
    """

    rows: int
    users: int
    items: int
    dropped: int
    merged_share: float
    earliest: float
    newest: float
    user_share: float
    item_share: float
    ratings: dict[str, float]
    times: dict[str, float]
    days: dict[str, int]
    known_users: float | None = None
    known_items: float | None = None
    served_lift: float | None = None
    own_lift: float | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON, which `read_figures` reads."""
        record: dict[str, Any] = msgspec.to_builtins(self)
        return record


def read_figures(manifest: Mapping[str, Any]) -> DataFigures | None:
    """The figures in a manifest; None if a plain training wrote it."""
    return msgspec.convert(manifest["data"], DataFigures) if "data" in manifest else None


def has_nothing_new(tonight: DataFigures, last: DataFigures | None) -> bool:
    """Whether no row is newer than those of the last published run."""
    return last is not None and tonight.newest <= last.newest


def faults_of(tonight: DataFigures, before: Sequence[DataFigures], limits: Data, now: float) -> list[str]:
    """What is wrong with tonight's data: each with the figure, the limit, and the setting that has it.

    Parameters
    ----------
    before
        The figures of the last published runs, the last one first.
    now
        Seconds since 1970.
    """
    faults = [*_absolute_faults(tonight, limits, now)]
    if before:
        faults += [*_count_faults(tonight, before, limits), *_change_faults(tonight, before[0], limits)]
    return faults


def _absolute_faults(tonight: DataFigures, limits: Data, now: float) -> list[str]:
    faults, rows = [], tonight.rows
    dropped = tonight.dropped / max(rows + tonight.dropped, 1)
    if dropped > limits.max_dropped:
        faults.append(f"{dropped:.2%} of the rows are bad, above data.max_dropped = {limits.max_dropped}")
    for role, share, limit in (
        ("user", tonight.user_share, limits.max_user_share),
        ("item", tonight.item_share, limits.max_item_share),
    ):
        if limit and share > limit:
            faults.append(f"one {role} has {share:.1%} of the {rows:,} rows, above data.max_{role}_share = {limit}")
    for role, known in (("users", tonight.known_users), ("items", tonight.known_items)):
        if known is not None and known < limits.min_known:
            faults.append(
                f"{known:.1%} of the rows are of {role} that the served version has, below data.min_known = "
                f"{limits.min_known}: are the ids of the same kind?"
            )
    age = (now - tonight.newest) / 3600.0
    if limits.max_age_hours and age > limits.max_age_hours:
        faults.append(
            f"the newest row is {age:,.1f} hours old ({_moment(tonight.newest)}), above data.max_age_hours = "
            f"{limits.max_age_hours}"
        )
    return faults


def _count_faults(tonight: DataFigures, before: Sequence[DataFigures], limits: Data) -> list[str]:
    faults = []
    for name in ("rows", "users", "items"):
        usual = median(getattr(figures, name) for figures in before[:REFERENCES])
        least, most = getattr(limits, name)
        times = getattr(tonight, name) / usual if usual else 1.0
        if not least <= times <= most:
            faults.append(
                f"{getattr(tonight, name):,} {name} are {times:.3g} times the {usual:,.0f} of the last published runs, "
                f"outside of data.{name} = [{least}, {most}]"
            )
    return faults


def _change_faults(tonight: DataFigures, last: DataFigures, limits: Data) -> list[str]:
    faults = []
    change = abs(tonight.merged_share - last.merged_share)
    if limits.max_merged_change and change > limits.max_merged_change:
        faults.append(
            f"{tonight.merged_share:.1%} of the rows repeat a pair where {last.merged_share:.1%} did, a change above "
            f"data.max_merged_change = {limits.max_merged_change}"
        )
    if limits.max_rating and tonight.ratings["most"] > limits.max_rating * last.ratings["most"]:
        faults.append(
            f"the largest rating is {tonight.ratings['most']:.6g} where it was {last.ratings['most']:.6g}, above "
            f"data.max_rating = {limits.max_rating} times that"
        )
    for name, words in (("median", "median"), ("p90", "90 % quantile")):
        now, then = tonight.ratings[name], last.ratings[name]
        factor = max(now, then) / max(min(now, then), 1e-30)
        if limits.max_rating_change and factor > limits.max_rating_change:
            faults.append(
                f"the {words} of ratings is {now:.6g} where it was {then:.6g}, a factor above "
                f"data.max_rating_change = {limits.max_rating_change}"
            )
    lift, own = tonight.served_lift, last.own_lift
    if limits.min_lift and lift is not None and own and lift < limits.min_lift * own:
        faults.append(
            f"the served version scores tonight's test pairs {lift:.4f} higher than other pairs of the same users and "
            f"items, where it was {own:.4f} on its own night, below data.min_lift = {limits.min_lift} times that: are "
            "ids or times mixed up?"
        )
    return [*faults, *_day_faults(tonight, last, limits)]


def _day_faults(tonight: DataFigures, last: DataFigures, limits: Data) -> list[str]:
    """Days that lost rows since the last run; those before the first that tonight's figures have are not compared."""
    first = min(tonight.days)
    short = {
        day: (tonight.days.get(day, 0), rows)
        for day, rows in sorted(last.days.items())
        if first <= day and tonight.days.get(day, 0) < limits.min_day * rows
    }
    if not short:
        return []
    examples = ", ".join(f"{day} {now:,} of {rows:,}" for day, (now, rows) in list(short.items())[:3])
    return [
        f"{len(short)} days have fewer rows than data.min_day = {limits.min_day} times those that the last published "
        f"run had of them, such as {examples}: is a partition missing?"
    ]


def day_of(moment: float) -> str:
    """The day of a time in UTC, such as 2026-01-31."""
    return datetime.fromtimestamp(moment, timezone.utc).date().isoformat()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="minutes")
