"""The sections of training: the loss by half-iteration, the time by phase, and the distribution of observations."""

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
_TERMS = {"loss": "total", "observed": "observed", "unobserved": "unobserved", "penalty": "penalty"}
_STOPPED_BY = {
    "max_iter": "train.max_iter was reached",
    "tol": "an iteration decreased the loss by less than train.tol",
}
_BY_HALF_ITERATION = Axis("half-iteration", whole=True)


def loss_section(events: Sequence[Record], stopped_by: str) -> Element:
    """The terms of the loss and its relative decrease, by half-iteration."""
    numbers = [event["half_iteration"] for event in events]
    terms = chart(
        "Loss",
        [
            Series(name, numbers, [event[key] for event in events], tone=tone)
            for tone, (key, name) in enumerate(_TERMS.items())
        ],
        x=_BY_HALF_ITERATION,
        y=Axis("loss", minimum=0.0),
    )
    decreases = [
        {**event, "decrease": (previous["loss"] - event["loss"]) / (abs(previous["loss"]) or 1.0)}
        for previous, event in pairwise(events)
    ]
    decrease = chart(
        "Relative decrease of the loss",
        _series_by_side(decreases, lambda event: event["decrease"]),
        x=_BY_HALF_ITERATION,
        y=Axis("of the previous loss", log=True, percent=True),
        note=f"Training stopped because {_STOPPED_BY.get(stopped_by, stopped_by)}.",
    )
    header = ["half-iteration", "side", *_TERMS, "seconds"]
    as_table = folded("All half-iterations as a table", table(header, _rows(events), numbers=(0, 2, 3, 4, 5, 6)))
    return section("Loss by half-iteration", panels([terms, decrease]), as_table)


def _rows(events: Sequence[Record]) -> list[list[Child]]:
    return [
        [
            str(event["half_iteration"]),
            event["side"],
            *(f"{event[key]:,.2f}" for key in _TERMS),
            f"{event['seconds']:.2f}",
        ]
        for event in events
    ]


def held_out_section(events: Sequence[Record], held_out: Record | None) -> Element | None:
    """The metric of held-out interactions by iteration, and the iteration that the model is of."""
    evaluated = [event for event in events if "metric" in event]
    if not evaluated or not held_out:
        return None
    curve = chart(
        f"{held_out['metric']} of held-out interactions",
        [
            Series(
                held_out["metric"],
                [event["iteration"] for event in evaluated],
                [event["metric"] for event in evaluated],
                tone=0,
            )
        ],
        x=Axis("iteration", whole=True),
        y=Axis(held_out["metric"]),
        note=(
            f"The model is that of iteration {held_out['iteration']} of {held_out['iterations']}, with "
            f"{held_out['metric']} {held_out['value']:.4f}."
        ),
    )
    return section("Held-out interactions by iteration", panels([curve]))


def time_section(seconds: dict[str, float], events: Sequence[Record]) -> Element:
    """Seconds per phase of the job, if they are known, and per half-iteration."""
    total = sum(seconds.values()) or 1.0
    rows: list[list[Child]] = [
        [phase, f"{value:.1f} s", f"{value / total:.0%}", el("span", class_="bar", style=f"width:{value / total:.1%}")]
        for phase, value in seconds.items()
    ]
    by_phase = el(
        "figure",
        el("figcaption", el("strong", "Time by phase")),
        table(["phase", "seconds", "share", ""], rows, numbers=(1, 2)),
    )
    by_half_iteration = chart(
        "Seconds per half-iteration",
        _series_by_side(events, lambda event: event["seconds"], mark="columns"),
        x=_BY_HALF_ITERATION,
        y=Axis("seconds", minimum=0.0),
    )
    return section("Time", panels([by_phase, by_half_iteration] if seconds else [by_half_iteration]))


def degrees_section(degrees: Record, counts: Record) -> Element:
    """How many users and items have how many observations, by octave."""
    return section(
        "Observations per user and per item",
        panels(
            chart(
                f"Observations per {singular}",
                [Series(side, range(len(degrees[side]["from"])), degrees[side]["rows"], mark="columns", tone=tone)],
                x=Axis("observations", names=tuple(map(_octave, degrees[side]["from"]))),
                y=Axis(side, log=True, minimum=0.5),
                note=_quantiles(degrees[side], f"{counts[side]:,} {side}"),
            )
            for tone, (side, singular) in enumerate(zip(_SIDES, ("user", "item"), strict=True))
        ),
    )


def _series_by_side(events: Sequence[Record], value: Callable[[Record], float], mark: str = "line") -> list[Series]:
    """A value of the half-iterations, in one series per side that has any."""
    by_side = {side: [event for event in events if event["side"] == side] for side in _SIDES}
    return [
        Series(
            side,
            [event["half_iteration"] for event in of_side],
            [value(event) for event in of_side],
            mark=mark,
            tone=tone,
        )
        for tone, (side, of_side) in enumerate(by_side.items())
        if of_side
    ]


def _octave(first: int) -> str:
    return str(first) if first == 1 else f"{compact(first)}–{compact(2 * first - 1)}"


def _quantiles(degrees: Record, population: str) -> str:
    return (
        f"{population}: mean {compact(degrees['mean'])}, median {compact(degrees['median'])}, "
        f"99th percentile {compact(degrees['p99'])}, maximum {compact(degrees['most'])}."
    )
