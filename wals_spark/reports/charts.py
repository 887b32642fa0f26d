"""Charts as inline SVG, which follow the light or dark colours of the page and load nothing.

Colours are defined by the page's style (`page.py`): a series names its tone, 0 to 3. Tones also differ in dashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from wals_spark.reports.markup import el
from wals_spark.reports.scales import Axis, Scale, drawable

WIDTH, HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 46
_MAX_MARKS = 120  # per series: a longer line has no marks, so the page stays small


@dataclass(frozen=True)
class Series:
    """Values ``y`` over ``x`` in one tone, with confidence ``intervals`` (low, high) if there are any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: str = "line"  # or points, columns
    tone: int = 0
    intervals: Sequence[tuple[float, float]] = field(default_factory=tuple)


def chart(title: str, series_list: Sequence[Series], *, x: Axis, y: Axis, note: str = "") -> Element:
    """A figure: its title, a legend if there are several series, the drawing, and a note below it."""
    bounds = [bound for series in series_list for interval in series.intervals for bound in interval]
    padding = 0.6 if any(series.mark == "columns" for series in series_list) else 0.0
    all_x = [value + side for series in series_list for value in series.x for side in (-padding, padding)]
    all_y = [*(value for series in series_list for value in series.y), *bounds]
    horizontal = Scale.over(x, all_x, _LEFT, WIDTH - _RIGHT)
    vertical = Scale.over(y, all_y, HEIGHT - _BOTTOM, _TOP)
    drawing = el(
        "svg",
        el("title", title),
        el("desc", _description(series_list, x, y)),
        _grid(horizontal, vertical),
        [el("g", _marks(series, horizontal, vertical), class_=f"tone-{series.tone}") for series in series_list],
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    return el(
        "figure",
        el("figcaption", el("strong", title), _legend(series_list) if len(series_list) > 1 else None),
        drawing,
        el("p", note, class_="note") if note else None,
    )


def _legend(series_list: Sequence[Series]) -> Element:
    return el(
        "span",
        [
            el("span", el("svg", _swatch(series), viewBox="0 0 22 10", aria_hidden="true"), series.name, class_="key")
            for series in series_list
        ],
        class_="legend",
    )


def _swatch(series: Series) -> Element:
    tone = f"tone-{series.tone}"
    if series.mark == "columns":
        return el("rect", x=4, y=0, width=14, height=10, class_=f"{tone} column")
    if series.mark == "points":
        return el("circle", cx=11, cy=5, r=4, class_=f"{tone} point")
    return el("line", x1=0, x2=22, y1=5, y2=5, class_=f"{tone} line")


def _grid(horizontal: Scale, vertical: Scale) -> Element:
    """Grid lines at the ticks of y, the ticks of x, and the labels of both axes."""
    left, right, bottom = horizontal.begin, horizontal.end, vertical.begin
    y_ticks = [
        (
            el("line", x1=left, x2=right, y1=vertical.at(tick), y2=vertical.at(tick), class_="grid"),
            el("text", vertical.axis.write(tick), x=left - 7, y=vertical.at(tick) + 4, text_anchor="end"),
        )
        for tick in vertical.ticks()
    ]
    x_ticks = [
        (
            el("line", x1=horizontal.at(tick), x2=horizontal.at(tick), y1=bottom, y2=bottom + 4, class_="axis"),
            el("text", horizontal.axis.write(tick), x=horizontal.at(tick), y=bottom + 18, text_anchor="middle"),
        )
        for tick in horizontal.ticks()
    ]
    rotated = f"translate(11 {(vertical.begin + vertical.end) / 2:.0f}) rotate(-90)"
    return el(
        "g",
        y_ticks,
        x_ticks,
        el("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"),
        el("text", horizontal.axis.label, x=(left + right) / 2, y=HEIGHT - 8, text_anchor="middle", class_="label"),
        el("text", vertical.axis.label, transform=rotated, text_anchor="middle", class_="label"),
    )


def _marks(series: Series, horizontal: Scale, vertical: Scale) -> Iterator[Element]:
    """The marks of a series; the tooltip of a mark is its value."""
    points = [
        (number, x, y)
        for number, (x, y) in enumerate(zip(series.x, series.y, strict=True))
        if drawable(x, horizontal.axis) and drawable(y, vertical.axis)
    ]
    if series.mark == "line":
        path = " ".join(f"{horizontal.at(x):.1f},{vertical.at(y):.1f}" for _, x, y in points)
        yield el("polyline", points=path, class_="line")
        if len(points) > _MAX_MARKS:
            return
    width = max(0.5, 0.8 * (horizontal.at(1.0) - horizontal.at(0.0))) if series.mark == "columns" else 0.0
    for number, x, y in points:
        text = f"{series.name}, {horizontal.axis.label} {horizontal.axis.write(x)}: {vertical.axis.write(y)}"
        tooltip = el("title", text)
        at_x, at_y = horizontal.at(x), vertical.at(y)
        if series.mark == "columns":
            height = max(0.0, vertical.begin - at_y)
            yield el("rect", tooltip, x=at_x - width / 2, y=at_y, width=width, height=height, class_="column")
            continue
        if series.intervals:
            low, high = series.intervals[number]
            yield el("line", x1=at_x, x2=at_x, y1=vertical.at(low), y2=vertical.at(high), class_="interval")
            tooltip.text = f"{text} ({vertical.axis.write(low)} to {vertical.axis.write(high)})"
        yield el("circle", tooltip, cx=at_x, cy=at_y, r=3.5 if series.mark == "points" else 2.5, class_="point")


def _description(series_list: Sequence[Series], x: Axis, y: Axis) -> str:
    """The chart in words, for screen readers."""
    sentences = [
        f"{series.name}: from {y.write(series.y[0])} at {x.write(series.x[0])} "
        f"to {y.write(series.y[-1])} at {x.write(series.x[-1])}, "
        f"minimum {y.write(min(series.y))}, maximum {y.write(max(series.y))}"
        for series in series_list
        if len(series.y)
    ]
    return f"{y.label} by {x.label}. {'; '.join(sentences)}."
