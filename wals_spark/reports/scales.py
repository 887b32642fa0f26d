"""Axes of a chart: where a value stands on paper, which values are marked, and how numbers are written for a reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LETTER = 6.5  # units that a letter of a tick takes


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    ``names`` makes it one of categories, which stand at 0, 1, 2, ...; ``least`` is where it begins, if that is not to
    be a round number below all values; ``whole`` has no ticks between whole numbers.
    """

    label: str
    log: bool = False
    least: float | None = None
    whole: bool = False
    percent: bool = False
    names: tuple[str, ...] = ()

    def write(self, value: float) -> str:
        """A value of this axis, for a reader."""
        if self.names:
            return self.names[round(value)]
        return f"{compact(100 * value)}%" if self.percent else compact(value)


@dataclass(frozen=True)
class Scale:
    """An axis of given extremes on paper, from ``begin`` to ``end`` (in SVG's units, y downwards)."""

    axis: Axis
    least: float
    most: float
    begin: float
    end: float

    @classmethod
    def over(cls, axis: Axis, values: Sequence[float], begin: float, end: float) -> Scale:
        """A scale that has room for all values that can be drawn, and ends at round numbers."""
        if axis.names:
            return cls(axis, -0.5, len(axis.names) - 0.5, begin, end)
        drawn = [value for value in values if drawable(value, axis)] or [1.0]
        least, most = min(drawn), max(drawn)
        if axis.least is not None:
            least, most = min(least, axis.least), max(most, axis.least)
        if axis.log:
            lower, upper = math.floor(math.log10(least)), math.ceil(math.log10(most))
            return cls(axis, least if least == axis.least else 10.0**lower, 10.0 ** max(upper, lower + 1), begin, end)
        if least == most:
            least, most = least - (abs(least) / 2 or 1.0), most + (abs(most) / 2 or 1.0)
        if not axis.whole:
            step = _step(most - least)
            least, most = math.floor(least / step + 1e-9) * step, math.ceil(most / step - 1e-9) * step
        return cls(axis, least, most, begin, end)

    def at(self, value: float) -> float:
        """Where a value stands."""
        if self.axis.log:
            share = math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        else:
            share = (value - self.least) / (self.most - self.least)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """The values to mark: as many as there is room for."""
        if self.axis.names:
            letters = 2 + max(len(name) for name in self.axis.names)
            every = math.ceil(len(self.axis.names) * letters * _LETTER / abs(self.end - self.begin))
            return [float(n) for n in range(0, len(self.axis.names), every)]
        if self.axis.log:
            low, high = math.ceil(math.log10(self.least)), round(math.log10(self.most))
            return [10.0**n for n in range(low, high + 1, 1 + (high - low) // 8)]
        step = _step(self.most - self.least)
        if self.axis.whole:
            step = max(1.0, step)
        first = math.ceil(self.least / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.most / step + 1e-9) + 1)]


def drawable(value: float, axis: Axis) -> bool:
    """Whether there is a place for it on paper."""
    return math.isfinite(value) and (value > 0 or not axis.log)


def compact(value: float) -> str:
    """A number in few characters.

    Examples
    --------
    >>> [compact(value) for value in (0, 0.05, 12.5, 9600, 96_000, 9_600_000, 1.2e-7)]
    ['0', '0.05', '12.5', '9,600', '96k', '9.6M', '1.2e-07']
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.4g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds for a reader.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.42, 12.3, 754, 9000)]
    ['0.42 s', '12 s', '12 min 34 s', '2 h 30 min']
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _step(span: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that cuts the span into five parts at the most."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= span * (1 - 1e-9))
