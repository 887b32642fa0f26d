"""Charts as inline SVG: drawn by hand, so that they follow the page's light or dark colours and need nothing else.

The colours are those of the page's style (`page.py`): a series names its tone, 0 to 3. Tones differ in dashes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from wals_spark.reports.markup import el
from wals_spark.reports.scales import Axis, Scale, drawable

WIDTH, HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 46
_MANY = 120  # marks of a series: beyond it a line has none, and the page stays small


@dataclass(frozen=True)
class Series:
    """What is drawn in one tone: ``y`` over ``x``, with ``intervals`` (low, high) where there are any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: str = "line"  # or points, columns
    tone: int = 0
    intervals: Sequence[tuple[float, float]] = field(default_factory=tuple)


def chart(title: str, series: Sequence[Series], *, x: Axis, y: Axis, note: str = "") -> Element:
    """A figure: its title, a legend if there are several series, the drawing, and a note below it."""
    ends = [end for one in series for interval in one.intervals for end in interval]
    padding = 0.6 if any(one.mark == "columns" for one in series) else 0.0
    across = [value + side for one in series for value in one.x for side in (-padding, padding)]
    along = Scale.over(x, across, _LEFT, WIDTH - _RIGHT)
    up = Scale.over(y, [*(value for one in series for value in one.y), *ends], HEIGHT - _BOTTOM, _TOP)
    drawing = el(
        "svg",
        el("title", title),
        el("desc", _described(series, x, y)),
        _grid(along, up),
        [el("g", _marks(one, along, up), class_=f"tone-{one.tone}") for one in series],
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    return el(
        "figure",
        el("figcaption", el("strong", title), _legend(series) if len(series) > 1 else None),
        drawing,
        el("p", note, class_="note") if note else None,
    )


def _legend(series: Sequence[Series]) -> Element:
    return el(
        "span",
        [
            el("span", el("svg", _swatch(one), viewBox="0 0 22 10", aria_hidden="true"), one.name, class_="key")
            for one in series
        ],
        class_="legend",
    )


def _swatch(one: Series) -> Element:
    tone = f"tone-{one.tone}"
    if one.mark == "columns":
        return el("rect", x=4, y=0, width=14, height=10, class_=f"{tone} column")
    if one.mark == "points":
        return el("circle", cx=11, cy=5, r=4, class_=f"{tone} point")
    return el("line", x1=0, x2=22, y1=5, y2=5, class_=f"{tone} line")


def _grid(along: Scale, up: Scale) -> Element:
    """Lines at the ticks of y, ticks of x, and what the axes show."""
    bottom = up.begin
    lines = [
        (
            el("line", x1=along.begin, x2=along.end, y1=up.at(tick), y2=up.at(tick), class_="grid"),
            el("text", up.axis.write(tick), x=along.begin - 7, y=up.at(tick) + 4, text_anchor="end"),
        )
        for tick in up.ticks()
    ]
    names = [
        (
            el("line", x1=along.at(tick), x2=along.at(tick), y1=bottom, y2=bottom + 4, class_="axis"),
            el("text", along.axis.write(tick), x=along.at(tick), y=bottom + 18, text_anchor="middle"),
        )
        for tick in along.ticks()
    ]
    middle = (along.begin + along.end) / 2
    turned = f"translate(11 {(up.begin + up.end) / 2:.0f}) rotate(-90)"
    return el(
        "g",
        lines,
        names,
        el("line", x1=along.begin, x2=along.end, y1=bottom, y2=bottom, class_="axis"),
        el("text", along.axis.label, x=middle, y=HEIGHT - 8, text_anchor="middle", class_="label"),
        el("text", up.axis.label, transform=turned, text_anchor="middle", class_="label"),
    )


def _marks(one: Series, along: Scale, up: Scale) -> Iterator[Element]:
    """The series on paper; each mark says its value to who points at it."""
    drawn = [
        (number, a, b)
        for number, (a, b) in enumerate(zip(one.x, one.y, strict=True))
        if drawable(a, along.axis) and drawable(b, up.axis)
    ]
    if one.mark == "line":
        points = " ".join(f"{along.at(a):.1f},{up.at(b):.1f}" for _, a, b in drawn)
        yield el("polyline", points=points, class_="line")
        if len(drawn) > _MANY:
            return
    width = max(0.5, 0.8 * (along.at(1.0) - along.at(0.0))) if one.mark == "columns" else 0.0
    for number, a, b in drawn:
        said = el("title", f"{one.name}, {along.axis.label} {along.axis.write(a)}: {up.axis.write(b)}")
        at_x, at_y = along.at(a), up.at(b)
        if one.mark == "columns":
            height = max(0.0, up.begin - at_y)
            yield el("rect", said, x=at_x - width / 2, y=at_y, width=width, height=height, class_="column")
            continue
        if one.intervals:
            low, high = one.intervals[number]
            yield el("line", x1=at_x, x2=at_x, y1=up.at(low), y2=up.at(high), class_="interval")
            said.text = f"{said.text} ({up.axis.write(low)} to {up.axis.write(high)})"
        yield el("circle", said, cx=at_x, cy=at_y, r=3.5 if one.mark == "points" else 2.5, class_="point")


def _described(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """The drawing in words, for who cannot see it."""
    parts = [
        f"{one.name}: from {y.write(one.y[0])} at {x.write(one.x[0])} to {y.write(one.y[-1])} at {x.write(one.x[-1])}, "
        f"least {y.write(min(one.y))}, most {y.write(max(one.y))}"
        for one in series
        if len(one.y)
    ]
    return f"{y.label} by {x.label}. {'; '.join(parts)}."
