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

_RANKINGS = (("model", "low", "high"), ("popularity", "popularity_low", "popularity_high"))
_CAPITALS = ("ndcg", "map", "mrr")


def ranking_section(metrics: Record) -> Element:
    """Metrics as charts, if they are at several k, and as a table; then what was evaluated and how."""
    by_name: dict[str, list[Record]] = {}
    for row in metrics["metrics"]:
        by_name.setdefault(row["name"], []).append(row)
    figures = [_by_k(name, rows) for name, rows in by_name.items() if len(rows) > 1]
    header = ["metric", "model", "95% interval", "popularity", "95% interval"]
    lines: list[list[Child]] = [
        [
            _title(name) + (f"@{row['k']}" if row["k"] else ""),
            *(said for label, low, high in _RANKINGS for said in (_share(row, label), _interval(row, low, high))),
        ]
        for name, rows in by_name.items()
        for row in rows
    ]
    stated = {**metrics.get("protocol", {}), **metrics.get("counts", {})}
    return section(
        "Ranking, beside popularity",
        panels(figures),
        table(header, lines, numbers=(1, 2, 3, 4)),
        el("p", "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in stated.items()), class_="note"),
    )


def _title(name: str) -> str:
    return name.upper() if name in _CAPITALS else name.replace("_", " ").capitalize()


def _by_k(name: str, rows: Sequence[Record]) -> Element:
    series = [
        Series(
            label,
            range(len(rows)),
            [row[label] for row in rows],
            tone=tone,
            intervals=[(row[low], row[high]) for row in rows if row.get(low) is not None],
        )
        for tone, (label, low, high) in enumerate(_RANKINGS)
        if all(row.get(label) is not None for row in rows)
    ]
    cuts = tuple(str(row["k"]) for row in rows)
    return chart(_title(name), series, x=Axis("k", names=cuts), y=Axis(f"{_title(name)}@k", least=0.0))


def _share(row: Record, label: str) -> str:
    return "" if row.get(label) is None else f"{row[label]:.4f}"


def _interval(row: Record, low: str, high: str) -> str:
    return "" if row.get(low) is None else f"{row[low]:.4f} – {row[high]:.4f}"
