"""Axes of a chart: the position of a value, the ticks, and numbers as text for a reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LETTER_WIDTH = 6.5  # SVG units per letter of a tick


@dataclass(frozen=True)
class Axis:
    """An axis: its label, and how its values are scaled and written.

    ``names`` makes it an axis of categories at 0, 1, 2, ...; ``minimum`` is where it begins, instead of at a round
    number below all values; ``whole`` has ticks at whole numbers only.
    """

    label: str
    log: bool = False
    minimum: float | None = None
    whole: bool = False
    percent: bool = False
    names: tuple[str, ...] = ()

    def write(self, value: float) -> str:
        """A value of this axis as text."""
        if self.names:
            return self.names[round(value)]
        return f"{compact(100 * value)}%" if self.percent else compact(value)


@dataclass(frozen=True)
class Scale:
    """Maps the values of an axis from ``minimum`` to ``maximum`` to SVG coordinates from ``begin`` to ``end``."""

    axis: Axis
    minimum: float
    maximum: float
    begin: float
    end: float

    @classmethod
    def over(cls, axis: Axis, values: Sequence[float], begin: float, end: float) -> Scale:
        """A scale that includes all drawable values and ends at round numbers."""
        if axis.names:
            return cls(axis, -0.5, len(axis.names) - 0.5, begin, end)
        drawn = [value for value in values if drawable(value, axis)] or [1.0]
        low, high = min(drawn), max(drawn)
        if axis.minimum is not None:
            low, high = min(low, axis.minimum), max(high, axis.minimum)
        if axis.log:
            lower, upper = math.floor(math.log10(low)), math.ceil(math.log10(high))
            return cls(axis, low if low == axis.minimum else 10.0**lower, 10.0 ** max(upper, lower + 1), begin, end)
        if low == high:
            low, high = low - (abs(low) / 2 or 1.0), high + (abs(high) / 2 or 1.0)
        if not axis.whole:
            step = _tick_step(high - low)
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(axis, low, high, begin, end)

    def at(self, value: float) -> float:
        """The SVG coordinate of a value."""
        if self.axis.log:
            fraction = math.log(max(value, self.minimum) / self.minimum) / math.log(self.maximum / self.minimum)
        else:
            fraction = (value - self.minimum) / (self.maximum - self.minimum)
        return self.begin + fraction * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """The values at which ticks are drawn: as many as fit."""
        if self.axis.names:
            letters = 2 + max(len(name) for name in self.axis.names)
            every = math.ceil(len(self.axis.names) * letters * _LETTER_WIDTH / abs(self.end - self.begin))
            return [float(n) for n in range(0, len(self.axis.names), every)]
        if self.axis.log:
            low, high = math.ceil(math.log10(self.minimum)), round(math.log10(self.maximum))
            return [10.0**n for n in range(low, high + 1, 1 + (high - low) // 8)]
        step = _tick_step(self.maximum - self.minimum)
        if self.axis.whole:
            step = max(1.0, step)
        first = math.ceil(self.minimum / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.maximum / step + 1e-9) + 1)]


def drawable(value: float, axis: Axis) -> bool:
    """Whether an axis can show a value."""
    return math.isfinite(value) and (value > 0 or not axis.log)


def compact(value: float) -> str:
    """A number in a few characters.

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
    """Seconds as text for a reader.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.42, 12.3, 754, 9000)]
    ['0.42 s', '12 s', '12 min 34 s', '2 h 30 min']
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds_left = divmod(round(seconds), 60)
    return f"{minutes} min {seconds_left} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _tick_step(span: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that divides the span into at most five parts."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= span * (1 - 1e-9))
