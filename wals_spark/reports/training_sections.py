"""What a report says of training: how the loss fell, where the time went, and what the data was like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.reports.charts import Series, chart
from wals_spark.reports.markup import Child, el
from wals_spark.reports.page import folded, panels, section, table
from wals_spark.reports.scales import Axis, compact

Record = dict[str, Any]

_SIDES = ("users", "items")
_PARTS = {"loss": "total", "observed": "observed", "unobserved": "unobserved", "penalty": "penalty"}
_ENDED = {"max_iter": "train.max_iter was reached", "tol": "an iteration gained less than train.tol of the loss"}
_BY_HALF_ITERATION = Axis("half-iteration", whole=True)


def loss_section(events: Sequence[Record], stopped_by: str) -> Element:
    """The loss in its parts, and what each half-iteration took off it."""
    numbers = [event["half_iteration"] for event in events]
    parts = chart(
        "Loss",
        [
            Series(name, numbers, [event[key] for event in events], tone=tone)
            for tone, (key, name) in enumerate(_PARTS.items())
        ],
        x=_BY_HALF_ITERATION,
        y=Axis("loss", least=0.0),
    )
    gains = [
        {**now, "gain": (before["loss"] - now["loss"]) / (abs(before["loss"]) or 1.0)}
        for before, now in pairwise(events)
    ]
    falls = chart(
        "What each half-iteration gained",
        _series_of_sides(gains, lambda event: event["gain"]),
        x=_BY_HALF_ITERATION,
        y=Axis("share of the loss", log=True, percent=True),
        note=f"Training ended because {_ENDED.get(stopped_by, stopped_by)}.",
    )
    header = ["half-iteration", "side", *_PARTS, "seconds"]
    rows: list[list[Child]] = [
        [
            str(event["half_iteration"]),
            event["side"],
            *(f"{event[key]:,.2f}" for key in _PARTS),
            f"{event['seconds']:.2f}",
        ]
        for event in events
    ]
    as_table = folded("All half-iterations as a table", table(header, rows, numbers=(0, 2, 3, 4, 5, 6)))
    return section("Loss by half-iteration", panels([parts, falls]), as_table)


def time_section(seconds: dict[str, float], events: Sequence[Record]) -> Element:
    """Seconds of the phases of the job, if they are known, and of the half-iterations."""
    whole = sum(seconds.values()) or 1.0
    rows: list[list[Child]] = [
        [phase, f"{spent:.1f} s", f"{spent / whole:.0%}", el("span", class_="bar", style=f"width:{spent / whole:.1%}")]
        for phase, spent in seconds.items()
    ]
    by_phase = el(
        "figure",
        el("figcaption", el("strong", "Time by phase")),
        table(["phase", "seconds", "share", ""], rows, numbers=(1, 2)),
    )
    steps = chart(
        "Seconds of each half-iteration",
        _series_of_sides(events, lambda event: event["seconds"], mark="columns"),
        x=_BY_HALF_ITERATION,
        y=Axis("seconds", least=0.0),
    )
    return section("Time", panels([by_phase, steps] if seconds else [steps]))


def degrees_section(degrees: Record, counts: Record) -> Element:
    """How many users and items have so many observations, by octave."""
    return section(
        "How many observations users and items have",
        panels(
            chart(
                f"Observations of {whose}",
                [Series(side, range(len(degrees[side]["from"])), degrees[side]["rows"], mark="columns", tone=tone)],
                x=Axis("observations", names=tuple(map(_octave, degrees[side]["from"]))),
                y=Axis(side, log=True, least=0.5),
                note=_quantiles(degrees[side], f"{counts[side]:,} {side}"),
            )
            for tone, (side, whose) in enumerate(zip(_SIDES, ("a user", "an item"), strict=True))
        ),
    )


def _series_of_sides(events: Sequence[Record], value: Callable[[Record], float], mark: str = "line") -> list[Series]:
    """One series for each side's half-iterations."""
    of_side = {side: [event for event in events if event["side"] == side] for side in _SIDES}
    return [
        Series(side, [event["half_iteration"] for event in own], [value(event) for event in own], mark=mark, tone=tone)
        for tone, (side, own) in enumerate(of_side.items())
        if own
    ]


def _octave(least: int) -> str:
    return str(least) if least == 1 else f"{compact(least)}–{compact(2 * least - 1)}"


def _quantiles(found: Record, rows: str) -> str:
    return (
        f"Of {rows}: mean {compact(found['mean'])}, median {compact(found['median'])}, 99% at most "
        f"{compact(found['p99'])}, the most {compact(found['most'])}."
    )
