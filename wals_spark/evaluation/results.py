"""What an evaluation found: the model's metrics beside popularity's, as a document to keep and a table to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from wals_spark.evaluation.bootstrap import Estimate, Sums, estimates
from wals_spark.evaluation.metrics import LOWER_IS_BETTER, Column, Measures

METRICS_FILE = "metrics.json"
_OF_POPULARITY = ("popularity", "popularity_low", "popularity_high")

Reached = Sequence[Mapping[int, int]]
"""For each model, how many items have each best place in any list."""


def metrics_of(measures: Measures, sums: Sums, reached: Reached, n_items: int) -> list[dict[str, Any]]:
    """Each metric at each k: ``name``, ``k``, what is ``better``, the ``model``'s value with ``low`` and ``high``.

    Where the sums have popularity's columns, too, so has the document: ``popularity``, ``popularity_low``, ``_high``.
    What does not exist (an interval without replicates or of coverage, k of a metric without lists) is None.
    """
    found = estimates(sums)
    n_columns = len(measures.columns)
    models = [dict(zip(measures.columns, found, strict=False))]
    if len(found) > n_columns:
        models.append(dict(zip(measures.columns, found[n_columns:], strict=True)))
    if "coverage" in measures.names:
        for model, places in zip(models, reached, strict=True):
            for k in measures.ks:
                n_reached = sum(n for place, n in places.items() if place < k)
                model[Column("coverage", k)] = Estimate(n_reached / n_items, math.nan, math.nan)
    columns = sorted(models[0], key=lambda column: measures.names.index(column.name))  # stable: k stays ascending
    document = []
    for column in columns:
        entry: dict[str, Any] = {
            "name": column.name,
            "k": column.k,
            "better": "lower" if column.name in LOWER_IS_BETTER else "higher",
        }
        for model, names in zip(models, (("model", "low", "high"), _OF_POPULARITY), strict=False):
            entry |= dict(zip(names, map(_or_none, model[column]), strict=True))
        document.append(entry)
    return document


def document(
    metrics: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    *,
    created: datetime,
    model: Mapping[str, str],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """What metrics.json holds; ``protocol`` says how users were judged."""
    return {
        "format": "wals_spark metrics",
        "format_version": 1,
        "created": created.astimezone(timezone.utc).isoformat(timespec="seconds"),
        "model": dict(model),
        "protocol": dict(protocol),
        "counts": dict(counts),
        "metrics": list(metrics),
    }


def caveats(counts: Mapping[str, int]) -> list[str]:
    """What did not go into the metrics as it was given, a sentence each."""
    sentences = {
        "test_users_unknown": "{:,} of the users in test.path are not in the model: they are not judged",
        "test_pairs_in_training": "{:,} pairs of test.path are in input.path, too: they are left out of the test",
        "test_pairs_of_unknown_items": "{:,} test pairs are of items that the model does not have: they are missed",
        "candidates_unknown": "{:,} candidates are items that the model does not have: they are left out",
    }
    return [sentence.format(counts[name]) for name, sentence in sentences.items() if counts.get(name)]


def as_table(metrics: Sequence[Mapping[str, Any]]) -> str:
    """The metrics as lines of text, a row each."""
    rows: list[tuple[str, ...]] = [("", "model", "95 % interval", "popularity", "95 % interval")]
    for entry in metrics:
        cells = [_number(entry["model"]), _interval(entry["low"], entry["high"])]
        if "popularity" in entry:
            value, low, high = (entry[name] for name in _OF_POPULARITY)
            cells += [_number(value), _interval(low, high)]
        rows.append((str(Column(entry["name"], entry["k"])), *cells))
    n_columns = len(rows[-1])
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(n_columns)]
    lines = []
    for name, *cells in rows:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{_number(low)} to {_number(high)}"
