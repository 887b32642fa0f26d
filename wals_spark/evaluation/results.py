"""The results of an evaluation: metrics of the model and of popularity, as values, a table and a JSON document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from wals_spark.arrays.types import Float64Array
from wals_spark.evaluation.bootstrap import Estimate, MetricSums, estimate_metrics
from wals_spark.evaluation.comparison import difference, verdict
from wals_spark.evaluation.metrics import LOWER_IS_BETTER, Column, Measures

METRICS_FILE = "metrics.json"
_HEADER = ("model", "95 % interval", "popularity", "95 % interval")
_COMPARED_HEADER = ("model", "95 % interval", "against", "difference", "95 % interval", "")
_MODEL_FIELDS = ("model", "low", "high")
_POPULARITY_FIELDS = ("popularity", "popularity_low", "popularity_high")
_AGAINST_FIELDS = ("against", "difference", "difference_low", "difference_high")

_CAVEATS = {
    "test_users_not_in_both": "{:,} of the users in test.path are not in both models: they are left out",
    "test_users_unknown": "{:,} of the users in test.path are not in the model: they are not evaluated",
    "input_pairs_not_trained_on": "popularity, and what users have seen, is from the {:,} pairs of input.path: these "
    "are not the pairs that the model was trained on",
    "test_pairs_in_training": "{:,} pairs of test.path are in input.path, too: they are left out of the test",
    "test_pairs_of_unknown_items": "{:,} test pairs are of items that the model does not have: they count as misses",
    "rated_rows_unknown": "{:,} rows of test.path have a user or an item that the model does not have: no rating error",
    "candidates_unknown": "{:,} candidates are items that the model does not have: they are left out",
}


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on held-out interactions; ``print`` shows them as a table.

    Attributes
    ----------
    metrics
        One entry per metric and list length: see `metric_entries`.
    counts
        How many users and items were evaluated, and how many pairs were left out and why.
    replicates
        The model's value over all users, and in each replicate, by metric; shape (1 + replicates,).

    Examples
    --------
    >>> ndcg = {"name": "ndcg", "k": 20, "better": "higher", "model": 0.25, "low": 0.24, "high": 0.26}
    >>> evaluation = Evaluation([ndcg], {"users": 1000, "items": 80})
    >>> evaluation.value("ndcg@20")
    0.25
    >>> print(evaluation)
              model     95 % interval
    ---------------------------------
    ndcg@20  0.2500  0.2400 to 0.2600
    """

    metrics: list[dict[str, Any]]
    counts: dict[str, int]
    replicates: Mapping[str, Float64Array] = field(default_factory=dict, repr=False, compare=False)

    def compared_with(self, other: Evaluation) -> Evaluation:
        """The same with that of another model on the same users: ``against``, ``difference`` and its interval.

        A metric that is no mean over users, such as coverage, has a difference and no interval.
        """
        theirs = {_title(entry): entry["model"] for entry in other.metrics}
        return replace(self, metrics=[{**entry, **self._difference(entry, theirs, other)} for entry in self.metrics])

    def _difference(
        self, entry: Mapping[str, Any], theirs: Mapping[str, float | None], other: Evaluation
    ) -> dict[str, float | None]:
        title = _title(entry)
        if title in self.replicates and title in other.replicates:
            estimate = difference(self.replicates[title], other.replicates[title])
        else:
            values = [math.nan if value is None else value for value in (entry["model"], theirs.get(title))]
            estimate = Estimate(values[0] - values[1], math.nan, math.nan)
        return dict(zip(_AGAINST_FIELDS, (theirs.get(title), *map(_none_if_nan, estimate)), strict=True))

    def value(self, metric: str) -> float:
        """The model's value of a metric such as ``ndcg@20`` or ``percentile_rank``; nan if it is undefined.

        Raises
        ------
        KeyError
            If the metric was not computed.
        """
        values = {_title(entry): entry["model"] for entry in self.metrics}
        if metric not in values:
            raise KeyError(f"{metric} was not computed; there are {', '.join(values)}")
        return math.nan if values[metric] is None else float(values[metric])

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of a metric over users; None without bootstrap replicates."""
        entry = next(entry for entry in self.metrics if _title(entry) == metric)
        return None if entry["low"] is None else (entry["low"], entry["high"])

    @property
    def caveats(self) -> list[str]:
        """What was left out of the evaluation, one sentence each."""
        return [sentence.format(self.counts[name]) for name, sentence in _CAVEATS.items() if self.counts.get(name)]

    def __str__(self) -> str:
        return as_table(self.metrics)

    def document(
        self,
        *,
        created: datetime,
        model: Mapping[str, str],
        protocol: Mapping[str, Any],
        against: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The content of metrics.json; ``model`` says which model, ``protocol`` how its users were evaluated.

        ``against`` says which model it is compared with.
        """
        return {
            "format": "wals_spark metrics",
            "format_version": 1,
            "created": created.astimezone(timezone.utc).isoformat(timespec="seconds"),
            "model": dict(model),
            **({} if against is None else {"against": dict(against)}),
            "protocol": dict(protocol),
            "counts": dict(self.counts),
            "metrics": list(self.metrics),
        }


def metric_entries(
    measures: Measures, sums: MetricSums, best_ranks: Sequence[Mapping[int, int]], n_items: int
) -> list[dict[str, Any]]:
    """Each metric at each k: ``name``, ``k``, which value is ``better``, and the ``model``'s value, ``low``, ``high``.

    If the sums have columns of popularity, the entries have ``popularity``, ``popularity_low`` and ``popularity_high``.
    A field is None where it is undefined: intervals without replicates and those of coverage, and k of a metric
    without lists.

    Parameters
    ----------
    best_ranks
        For each model, the number of items by their best rank in any list: coverage is computed from it. The second
        is popularity's, if there is one.
    n_items
        The size of the catalogue.
    """
    estimates = estimate_metrics(sums)
    n_columns = len(measures.columns)
    models = [dict(zip(measures.columns, estimates, strict=False))]
    if len(estimates) > n_columns:
        models.append(dict(zip(measures.columns, estimates[n_columns:], strict=True)))
    if "coverage" in measures.names:
        for model, items_by_rank in zip(models, best_ranks, strict=False):
            for k in measures.ks:
                n_recommended = sum(n for rank, n in items_by_rank.items() if rank < k)
                model[Column("coverage", k)] = Estimate(n_recommended / n_items, math.nan, math.nan)
    columns = sorted(models[0], key=lambda column: measures.names.index(column.name))  # stable: k stays ascending
    return [_entry(column, [model[column] for model in models]) for column in columns]


def as_table(metrics: Sequence[Mapping[str, Any]]) -> str:
    """The metrics as lines of text, one line per metric and k; a comparison has the difference, not popularity."""
    compared = any("difference" in entry for entry in metrics)
    rows: list[tuple[str, ...]] = [("", *(_COMPARED_HEADER if compared else _HEADER))]
    for entry in metrics:
        cells = [_number(entry["model"]), _interval(entry["low"], entry["high"])]
        if compared:
            against, value, low, high = (entry[field] for field in _AGAINST_FIELDS)
            cells += [_number(against), _number(value, "+"), _interval(low, high, "+"), verdict(entry)]
        elif "popularity" in entry:
            value, low, high = (entry[field] for field in _POPULARITY_FIELDS)
            cells += [_number(value), _interval(low, high)]
        rows.append((_title(entry), *cells))
    n_columns = max(map(len, rows[1:]), default=1)
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(n_columns)]
    lines = []
    for title, *cells in rows:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        lines.append("  ".join([title.ljust(widths[0]), *aligned]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _entry(column: Column, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """One metric as a record: the estimate of the model, then that of popularity if there is one."""
    entry: dict[str, Any] = {
        "name": column.name,
        "k": column.k,
        "better": "lower" if column.name in LOWER_IS_BETTER else "higher",
    }
    for estimate, fields in zip(estimates, (_MODEL_FIELDS, _POPULARITY_FIELDS), strict=False):
        entry |= dict(zip(fields, map(_none_if_nan, estimate), strict=True))
    return entry


def _title(entry: Mapping[str, Any]) -> str:
    return str(Column(entry["name"], entry["k"]))


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"


def _interval(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None else f"{_number(low, sign)} to {_number(high, sign)}"
