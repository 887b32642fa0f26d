"""What a report says of ranking: each metric by k beside the popularity baseline, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.reports.charts import Series, chart
from wals_spark.reports.markup import Child, el
from wals_spark.reports.page import panels, section, table
from wals_spark.reports.scales import Axis

Record = dict[str, Any]

_RANKINGS = (("model", "low", "high"), ("popularity", "popularity_low", "popularity_high"))
_CAPITALS = ("ndcg", "map", "mrr")


def ranking_section(metrics: Record) -> Element:
    """Metrics as charts, if they are at several k, and as a table; then what was judged and how."""
    by_name: dict[str, list[Record]] = {}
    for row in metrics["metrics"]:
        by_name.setdefault(row["name"], []).append(row)
    figures = [_by_k(name, rows) for name, rows in by_name.items() if len(rows) > 1]
    header = ["metric", "model", "95% interval", "popularity", "95% interval", "better"]
    lines: list[list[Child]] = [
        [
            _title(name) + (f"@{row['k']}" if row["k"] else ""),
            *(said for value, low, high in _RANKINGS for said in (_number(row, value), _interval(row, low, high))),
            row["better"],
        ]
        for name, rows in by_name.items()
        for row in rows
    ]
    stated = {name: value for name, value in {**metrics["protocol"], **metrics["counts"]}.items() if value != ""}
    return section(
        "Ranking, beside popularity",
        panels(figures),
        table(header, lines, numbers=(1, 2, 3, 4)),
        el(
            "p", "; ".join(f"{name.replace('_', ' ')}: {_said(value)}" for name, value in stated.items()), class_="note"
        ),
    )


def _title(name: str) -> str:
    return name.upper() if name in _CAPITALS else name.replace("_", " ").capitalize()


def _by_k(name: str, rows: Sequence[Record]) -> Element:
    series = [
        Series(
            value,
            range(len(rows)),
            [row[value] for row in rows],
            tone=tone,
            intervals=[(row[low], row[high]) for row in rows] if all(_has(row, low) for row in rows) else (),
        )
        for tone, (value, low, high) in enumerate(_RANKINGS)
        if all(_has(row, value) for row in rows)
    ]
    cuts = tuple(str(row["k"]) for row in rows)
    return chart(_title(name), series, x=Axis("k", names=cuts), y=Axis(f"{_title(name)}@k", least=0.0))


def _has(row: Record, name: str) -> bool:
    return row.get(name) is not None


def _number(row: Record, name: str) -> str:
    return f"{row[name]:.4f}" if _has(row, name) else ""


def _interval(row: Record, low: str, high: str) -> str:
    return f"{row[low]:.4f} – {row[high]:.4f}" if _has(row, low) else ""


def _said(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
