"""The section of ranking metrics: each metric by k, compared with popularity, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.evaluation.comparison import verdict
from wals_spark.reports.charts import Series, chart
from wals_spark.reports.markup import Child, el
from wals_spark.reports.page import panels, section, table
from wals_spark.reports.scales import Axis

Record = dict[str, Any]

_RANKINGS = (("model", "low", "high"), ("popularity", "popularity_low", "popularity_high"))
_ACRONYMS = ("ndcg", "map", "mrr")


def ranking_section(metrics: Record) -> Element:
    """Metrics as charts, if there are several k, and as a table; then the protocol and the counts of the evaluation."""
    by_name: dict[str, list[Record]] = {}
    for entry in metrics["metrics"]:
        by_name.setdefault(entry["name"], []).append(entry)
    charts = [_chart_by_k(name, entries) for name, entries in by_name.items() if len(entries) > 1]
    header = ["metric", "model", "95% interval", "popularity", "95% interval", "better"]
    if "against" in metrics:
        header += [f"version {metrics['against']['version']}", "difference", "95% interval", "the model is"]
    rows: list[list[Child]] = [_row(name, entry) for name, entries in by_name.items() for entry in entries]
    facts = {name: value for name, value in {**metrics["protocol"], **metrics["counts"]}.items() if value != ""}
    return section(
        "Ranking metrics, compared with popularity",
        panels(charts),
        table(header, rows, numbers=(1, 2, 3, 4, 6, 7, 8)),
        el(
            "p",
            "; ".join(f"{name.replace('_', ' ')}: {_as_text(value)}" for name, value in facts.items()),
            class_="note",
        ),
    )


def _row(name: str, entry: Record) -> list[Child]:
    title = _title(name) + (f"@{entry['k']}" if entry["k"] else "")
    cells = [text for value, low, high in _RANKINGS for text in (_number(entry, value), _interval(entry, low, high))]
    row: list[Child] = [title, *cells, entry["better"]]
    if "difference" in entry:
        row += [_number(entry, "against"), _number(entry, "difference", "+")]
        row += [_interval(entry, "difference_low", "difference_high", "+"), verdict(entry)]
    return row


def _title(name: str) -> str:
    return name.upper() if name in _ACRONYMS else name.replace("_", " ").capitalize()


def _chart_by_k(name: str, entries: Sequence[Record]) -> Element:
    series_list = [
        Series(
            value,
            range(len(entries)),
            [entry[value] for entry in entries],
            tone=tone,
            intervals=[(entry[low], entry[high]) for entry in entries] if all(_has(e, low) for e in entries) else (),
        )
        for tone, (value, low, high) in enumerate(_RANKINGS)
        if all(_has(entry, value) for entry in entries)
    ]
    ks = tuple(str(entry["k"]) for entry in entries)
    return chart(_title(name), series_list, x=Axis("k", names=ks), y=Axis(f"{_title(name)}@k", minimum=0.0))


def _has(entry: Record, field: str) -> bool:
    return entry.get(field) is not None


def _number(entry: Record, field: str, sign: str = "") -> str:
    return f"{entry[field]:{sign}.4f}" if _has(entry, field) else ""


def _interval(entry: Record, low: str, high: str, sign: str = "") -> str:
    return f"{entry[low]:{sign}.4f} – {entry[high]:{sign}.4f}" if _has(entry, low) else ""


def _as_text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
