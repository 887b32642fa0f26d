"""Trials of a search as they stand on the leaderboard: a file that is the whole memory of a search.

It is written anew, in one step, after each trial; so a search that was killed goes on after the last trial that ended,
on whatever storage Spark reaches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wals_spark.errors import ConfigError, InputError

FORMAT, FORMAT_VERSION = "wals_spark leaderboard", 1

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


@dataclass(frozen=True)
class Trial:
    """One trial, over.

    ``value`` is the metric searched by, of a pruned trial as it last stood, of a failed one none. ``looks`` are the
    values on the way, by iteration; ``metrics`` all that was measured at the end; ``message`` why it failed.
    """

    number: int
    state: str
    settings: dict[str, Any]
    value: float | None
    seconds: float
    looks: dict[int, float] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    message: str = ""


def best_first(trials: Sequence[Trial], *, lower_is_better: bool = False) -> list[Trial]:
    """Complete trials by their value, then pruned ones by theirs, then failed ones; the earlier first among equals."""
    order = {COMPLETE: 0, PRUNED: 1, FAILED: 2}
    sign = 1.0 if lower_is_better else -1.0
    return sorted(trials, key=lambda t: (order[t.state], sign * t.value if t.value is not None else 0.0, t.number))


def as_leaderboard(
    trials: Sequence[Trial], *, metric: str, settings: dict[str, Any], lower_is_better: bool = False
) -> str:
    """The leaderboard, best first, as JSON; ``settings`` are the search's."""
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "metric": metric,
        "lower_is_better": lower_is_better,
        "trials": [
            {"place": place, **asdict(trial)}
            for place, trial in enumerate(best_first(trials, lower_is_better=lower_is_better), start=1)
        ],
        "settings": settings,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read_leaderboard(text: str, settings: dict[str, Any], where: str) -> list[Trial]:
    """The trials of a leaderboard in the order they were run, if it is of a search with these settings.

    Raises
    ------
    InputError
        If ``where`` is no leaderboard that this version knows.
    ConfigError
        If its search had other settings: which. More trials may be asked for; all else makes trials incomparable.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON: {error}; move it away to begin anew") from error
    if (document.get("format"), document.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise InputError(f"{where} is no {FORMAT} of version {FORMAT_VERSION}; move it away to begin anew")
    differ = _differing(document["settings"], json.loads(json.dumps(settings)))
    if differ:
        raise ConfigError(
            f"{where} is of a search with other settings ({', '.join(differ)}), and its trials do not compare with "
            "these: choose another output.path, or the settings it had"
        )
    trials = [
        Trial(**{**{k: v for k, v in record.items() if k != "place"}, "looks": _by_iteration(record["looks"])})
        for record in document["trials"]
    ]
    return sorted(trials, key=lambda trial: trial.number)


def _by_iteration(looks: dict[str, float]) -> dict[int, float]:
    return {int(iteration): value for iteration, value in looks.items()}


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [(section, key) for section in now for key in {**before.get(section, {}), **now[section]}]
    return [
        f"{section}.{key}"
        for section, key in names
        if (section, key) != ("tune", "trials") and before.get(section, {}).get(key) != now[section].get(key)
    ]
