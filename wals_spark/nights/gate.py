"""The gate: whether a candidate may be served, decided by figures alone, so that it can be decided again.

A candidate passes if it is not inferior: the lower end of the 95 % interval of its paired difference from a served
version is above minus the margin, ``gate.relative`` times the version's value. A model that is worse by the margin
passes in one of forty nights; one that is as good is refused in less than one of twenty if the margin is 3.6 standard
deviations of the difference, which takes enough test users. From the best version so far, against a decay by less than
the margin each night, the difference itself must be above minus the margin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

import msgspec

from wals_spark.settings.retrain import Gate

GATE_FILE = "gate.json"
_REACH = NormalDist().inv_cdf(0.975)  # deviations from the difference to an end of its interval
_ENOUGH = _REACH + NormalDist().inv_cdf(0.95)  # in a margin: a model that is as good then passes in 95 % of nights


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate and another version on the same users: the other's value, the difference and its deviation."""

    version: str
    value: float
    difference: float
    deviation: float


class SideSanity(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one side's factors: how many, of which zero and not finite, and their median length."""

    rows: int
    zero_rows: int
    not_finite: int
    median_length: float


class Sanity(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of factors without a test: the loss per observation, and the rows of both sides."""

    loss_per_observation: float
    users: SideSanity
    items: SideSanity


class GateFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All that the gate decides by; ``served`` and ``anchor`` are None where there is no other version."""

    metric: str
    users: int
    candidate: float
    popularity: float | None
    sanity: Sanity
    served_sanity: Sanity | None = None
    served: Comparison | None = None
    anchor: Comparison | None = None


def decide(figures: GateFigures, gate: Gate) -> list[str]:
    """Why a candidate is refused; an empty list: it passes.

    The first model of a root is compared with nothing but popularity.
    """
    return [*_insane(figures, gate), *_below_floor(figures, gate), *_inferior(figures, gate)]


def gate_document(figures: GateFigures, gate: Gate, reasons: list[str]) -> dict[str, Any]:
    """What `GATE_FILE` says, beside a candidate."""
    return {
        "format": "wals_spark gate",
        "passed": not reasons,
        "reasons": reasons,
        "figures": msgspec.to_builtins(figures),
        "settings": msgspec.to_builtins(gate),
    }


def read_gate_figures(document: Mapping[str, Any]) -> GateFigures:
    """The figures in what `gate_document` gave."""
    return msgspec.convert(document["figures"], GateFigures)


def _insane(figures: GateFigures, gate: Gate) -> Iterator[str]:
    candidate, served = figures.sanity, figures.served_sanity
    for name in ("users", "items"):
        side: SideSanity = getattr(candidate, name)
        if side.not_finite:
            yield f"{side.not_finite:,} rows of {name} are not finite"
        zero = side.zero_rows / max(side.rows, 1)
        if zero > gate.max_zero_rows:
            yield f"{zero:.1%} of the rows of {name} are zero, above gate.max_zero_rows = {gate.max_zero_rows}"
        if served is not None:
            before: SideSanity = getattr(served, name)
            yield from _changed(f"the median length of rows of {name}", side.median_length, before.median_length, gate)
    if served is not None:
        yield from _changed(
            "the loss per observation", candidate.loss_per_observation, served.loss_per_observation, gate
        )


def _changed(what: str, now: float, before: float, gate: Gate) -> Iterator[str]:
    factor = max(now, before) / max(min(now, before), 1e-30)
    if not factor <= gate.max_change:
        yield f"{what} is {now:.4g} and the served version's {before:.4g}, above gate.max_change = {gate.max_change}"


def _below_floor(figures: GateFigures, gate: Gate) -> Iterator[str]:
    value = f"{figures.metric} is {figures.candidate:.4f}"
    if figures.users < gate.min_users:
        yield f"{figures.users:,} users in the test, below gate.min_users = {gate.min_users}: raise split.days"
    if not figures.candidate >= gate.absolute:
        yield f"{value}, below gate.absolute = {gate.absolute}"
    if gate.popularity and figures.popularity is not None and not figures.candidate > figures.popularity:
        yield f"{value}, not above that of popularity, {figures.popularity:.4f} (gate.popularity)"


def _inferior(figures: GateFigures, gate: Gate) -> Iterator[str]:
    served, anchor = figures.served, figures.anchor
    if served is not None and served.value > 0.0:
        margin, reach = gate.relative * served.value, _REACH * served.deviation
        enough = math.ceil(figures.users * (_ENOUGH * served.deviation / margin) ** 2)
        words = f"{_beside(figures, 'the served version', served)}, and by the 95 % interval no better than " + (
            f"{(served.difference - reach) / served.value:+.1%}"
        )
        if served.difference - reach >= -margin:
            pass
        elif served.difference + reach > -margin and enough > figures.users:
            yield (
                f"too few test users to tell, {figures.users:,}; about {enough:,} would do (raise split.days, or "
                f"gate.relative = {gate.relative}): {words}"
            )
        else:
            yield f"{words}, below what gate.relative = {gate.relative} allows"
    # Each night compares with the best so far again, so that chance does not let a decay pass for long.
    if anchor is not None and anchor.difference < -gate.relative * anchor.value:
        yield f"{_beside(figures, 'the best so far', anchor)}, below what gate.relative = {gate.relative} allows"


def _beside(figures: GateFigures, name: str, other: Comparison) -> str:
    return (
        f"{figures.metric} is {figures.candidate:.4f}, that of {name}, {other.version}, {other.value:.4f}: "
        f"{other.difference / other.value:+.1%}"
    )


def is_new_anchor(figures: GateFigures) -> bool:
    """Whether a candidate that is served becomes the best so far: on the same users it is at least as good."""
    best = figures.anchor or figures.served
    return best is None or best.difference >= 0.0
