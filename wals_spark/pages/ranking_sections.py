"""What a report says of ranking: each metric by k beside the popularity baseline, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.pages.charts import Series, chart
from wals_spark.pages.markup import Child, el
from wals_spark.pages.page import panels, section, table
from wals_spark.pages.scales import Axis

Record = dict[str, Any]

_RANKINGS = ("model", "popularity")
_CAPITALS = ("ndcg", "map", "mrr")


def ranking_section(metrics: Record) -> Element:
    """Metrics as charts, if they are at several k, and as a table; then how many of what were evaluated."""
    by_name: dict[str, list[Record]] = {}
    for row in metrics["metrics"]:
        by_name.setdefault(row["name"], []).append(row)
    figures = [_by_k(name, rows) for name, rows in by_name.items() if len(rows) > 1]
    header = ["metric", "model", "95% interval", "popularity", "95% interval", "better"]
    lines: list[list[Child]] = [
        [
            _title(name) + (f"@{row['k']}" if row["k"] else ""),
            *(said for ranking in _RANKINGS for said in (_value(row.get(ranking)), _interval(row.get(ranking)))),
            row["better"],
        ]
        for name, rows in by_name.items()
        for row in rows
    ]
    counts = "; ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in metrics["counts"].items())
    return section(
        "Ranking, beside popularity",
        panels(figures),
        table(header, lines, numbers=(1, 2, 3, 4)),
        el("p", f"Protocol: {metrics['protocol']}. {counts}.", class_="note"),
    )


def _title(name: str) -> str:
    return name.upper() if name in _CAPITALS else name.replace("_", " ").capitalize()


def _by_k(name: str, rows: Sequence[Record]) -> Element:
    series = []
    for tone, ranking in enumerate(_RANKINGS):
        found = [row[ranking] for row in rows if row.get(ranking) is not None]
        if len(found) == len(rows):
            intervals = [(one["low"], one["high"]) for one in found if one["low"] is not None]
            whole = intervals if len(intervals) == len(rows) else []
            values = [one["value"] for one in found]
            series.append(Series(ranking, range(len(rows)), values, tone=tone, intervals=whole))
    cuts = tuple(str(row["k"]) for row in rows)
    return chart(_title(name), series, x=Axis("k", names=cuts), y=Axis(f"{_title(name)}@k", least=0.0))


def _value(found: Record | None) -> str:
    return "" if found is None else f"{found['value']:.4f}"


def _interval(found: Record | None) -> str:
    return "" if found is None or found["low"] is None else f"{found['low']:.4f} – {found['high']:.4f}"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
