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

    ``value`` is the metric searched by, of a pruned trial as it last stood, of a failed one none. ``intermediate_values`` are the
    values on the way, by iteration; ``message`` says why it failed.
    """

    number: int
    state: str
    settings: dict[str, Any]
    value: float | None
    seconds: float
    intermediate_values: dict[int, float] = field(default_factory=dict)
    message: str = ""


def best_first(trials: Sequence[Trial], *, lower_is_better: bool = False) -> list[Trial]:
    """Complete trials by their value, then pruned ones by theirs, then failed ones; the earlier first among equals."""
    order = {COMPLETE: 0, PRUNED: 1, FAILED: 2}
    sign = 1.0 if lower_is_better else -1.0
    return sorted(trials, key=lambda t: (order[t.state], sign * t.value if t.value is not None else 0.0, t.number))


@dataclass(frozen=True)
class Leaderboard:
    """A search as it stands: its ``settings``, how much ``data`` of what there was, its trials as they were run."""

    settings: dict[str, Any]
    data: dict[str, int]
    trials: tuple[Trial, ...] = ()
    lower_is_better: bool = False

    @property
    def best(self) -> list[Trial]:
        """The trials, best first."""
        return best_first(self.trials, lower_is_better=self.lower_is_better)

    def as_json(self) -> str:
        """The file; `read_leaderboard` is the way back."""
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "metric": self.settings["tune"]["metric"],
            "lower_is_better": self.lower_is_better,
            "trials": [{"place": place, **asdict(trial)} for place, trial in enumerate(self.best, start=1)],
            "data": self.data,
            "settings": self.settings,
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def refuse_other(self, settings: dict[str, Any], data: dict[str, int] | None, where: str) -> None:
        """Refuse to go on with other settings or, where they are known, other data.

        More trials may be asked for; all else makes trials incomparable.

        Raises
        ------
        ConfigError, InputError
            Which settings differ, or which counts.
        """
        now = json.loads(json.dumps(settings))
        differ = [name for name in _differing(self.settings, now) if name != "tune.trials"]
        if differ:
            raise ConfigError(
                f"{where} is of a search with other settings ({', '.join(differ)}), and its trials do not compare with "
                "these: choose another output.path, or the settings it had"
            )
        if data is not None and data != self.data:
            raise InputError(
                f"{where} is of a search on other data ({self.data}; now {data}), and its trials do not compare with "
                "these: choose another output.path"
            )


def read_leaderboard(text: str, where: str) -> Leaderboard:
    """The leaderboard that `Leaderboard.as_json` wrote.

    Raises
    ------
    InputError
        If ``where`` is none that this version knows.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON: {error}; move it away to begin anew") from error
    if (document.get("format"), document.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise InputError(f"{where} is no {FORMAT} of version {FORMAT_VERSION}; move it away to begin anew")
    trials = [_trial(record) for record in document["trials"]]
    in_order = tuple(sorted(trials, key=lambda trial: trial.number))
    return Leaderboard(document["settings"], document["data"], in_order, document["lower_is_better"])


def _trial(record: dict[str, Any]) -> Trial:
    fields = {key: value for key, value in record.items() if key != "place"}
    if "looks" in fields:  # as wals_spark 0.1 called them
        fields["intermediate_values"] = fields.pop("looks")
    return Trial(**{**fields, "intermediate_values": _by_iteration(fields["intermediate_values"])})


def _by_iteration(intermediate_values: dict[str, float]) -> dict[int, float]:
    return {int(iteration): value for iteration, value in intermediate_values.items()}


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{section}.{key}"
        for section in now
        for key in {**before.get(section, {}), **now[section]}
        if before.get(section, {}).get(key) != now[section].get(key)
    ]
