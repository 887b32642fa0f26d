"""Sections of a night's model: the drift of its vectors since the served version, and the figures of its data."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.reports.markup import Child, el
from wals_spark.reports.page import folded, section, table

Record = dict[str, Any]

_DRIFT = {
    "cosine": "median cosine of an item with itself",
    "cosine_after_rotation": "the same, after the best rotation",
    "neighbours_kept": "of an item's 20 nearest, those that were before",
    "lists_kept": "of a user's 10 best, those that were before",
    "neighbours_under_served_index": "of an item's 20 nearest, those that yesterday's index finds for its new vector",
    "lists_under_served_index": "of a user's 10 best, those that yesterday's index finds for the new vector",
}
_RATINGS = ("median", "p90", "most")


def drift_section(drift: Record) -> Element:
    """How far the vectors have moved, ids that came and went, and what must be rebuilt."""
    measured: list[list[Child]] = [[words, f"{drift[name]:.2f}"] for name, words in _DRIFT.items()]
    ids: list[list[Child]] = [
        [side, *(f"{counts[name]:,}" for name in ("kept", "new", "gone"))] for side, counts in drift["ids"].items()
    ]
    return section(
        f"Drift since version {drift['served']}",
        el("p", drift["rebuild"]),
        table(["", "share or cosine"], measured, numbers=(1,)),
        table(["ids", "kept", "new", "gone"], ids, numbers=(1, 2, 3)),
        el(
            "p",
            f"Measured on {drift['items_compared']:,} items and {drift['users_compared']:,} users of both versions.",
            class_="note",
        ),
    )


def data_section(data: Record) -> Element:
    """The figures that the night's data was judged by."""
    rows: list[list[Child]] = [
        ["rows, users, items", f"{data['rows']:,}, {data['users']:,}, {data['items']:,}"],
        ["bad rows dropped", f"{data['dropped']:,}"],
        ["rows that repeat a pair", f"{data['merged_share']:.1%}"],
        ["from, to", f"{_moment(data['earliest'])}, {_moment(data['newest'])}"],
        ["largest share of one user, of one item", f"{data['user_share']:.2%}, {data['item_share']:.2%}"],
        ["rows of known users, of known items", f"{_share(data['known_users'])}, {_share(data['known_items'])}"],
        ["rating: median, 90 % quantile, largest", ", ".join(f"{data['ratings'][name]:.4g}" for name in _RATINGS)],
    ]
    days: list[list[Child]] = [[day, f"{count:,}"] for day, count in data["days"].items()]
    return section(
        "The night's data",
        table(["", "figure"], rows),
        folded("Rows per day", table(["day", "rows"], days, numbers=(1,))),
    )


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")
