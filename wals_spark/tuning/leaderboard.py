"""The leaderboard: finished trials and settings of a search in one JSON file, from which a killed search resumes.

The file is rewritten as a whole after each trial, so a search resumes after its last finished trial, on any storage
that Spark reaches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from wals_spark.errors import ConfigError, InputError
from wals_spark.settings.loader import with_new_names
from wals_spark.settings.search_space import Parameter
from wals_spark.settings.tune import TuneSettings

FORMAT, FORMAT_VERSION = "wals_spark leaderboard", 1

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes
    ----------
    state : str
        ``complete``, ``pruned`` or ``failed``.
    value : float or None
        The metric that is optimised; of a pruned trial its last intermediate value, of a failed trial None.
    intermediate_values : dict of int to float
        The metric during training, by iteration.
    message : str
        Why the trial failed.
    trained : dict of str to Any
        The settings that jobs/train.py takes for the same training, by their full names: all that are not defaults.
    metrics : dict of str to float
        Of a complete trial: all metrics.
    interval : tuple of float, or None
        Of a complete trial: the 95 % interval of the value, over users.
    """

    number: int
    state: str
    settings: dict[str, Any]
    value: float | None
    seconds: float
    intermediate_values: dict[int, float] = field(default_factory=dict)
    message: str = ""
    trained: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


def best_first(trials: Sequence[Trial], *, lower_is_better: bool = False) -> list[Trial]:
    """Complete trials by value, then pruned trials by value, then failed ones; of equal trials the earlier is first."""
    state_order = {COMPLETE: 0, PRUNED: 1, FAILED: 2}
    sign = 1.0 if lower_is_better else -1.0
    return sorted(trials, key=lambda t: (state_order[t.state], 0.0 if t.value is None else sign * t.value, t.number))


@dataclass(frozen=True)
class Leaderboard:
    """The state of a search: its trials in the order they ran, and the settings and data that make them comparable.

    ``data`` are the numbers of users, items, observations and test rows.
    """

    settings: dict[str, Any]
    data: dict[str, int]
    trials: tuple[Trial, ...] = ()
    lower_is_better: bool = False

    @property
    def best(self) -> list[Trial]:
        """The trials, best first."""
        return best_first(self.trials, lower_is_better=self.lower_is_better)

    def as_json(self) -> str:
        """The content of the file, which `read_leaderboard` reads."""
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
        """Refuse to resume this search with other settings or, if it is known, other data.

        Only the number of trials, and what is done after them, may differ: trials with other settings or data are not
        comparable.

        Raises
        ------
        ConfigError, InputError
            With the settings or the numbers that differ.
        """
        plain = json.loads(json.dumps(settings))  # as the file has them: lists, not tuples
        different = [name for name in _different_settings(self.settings, plain) if not _may_differ(name)]
        if different:
            raise ConfigError(
                f"{where} is of a search with other settings ({', '.join(different)}), so its trials are not "
                "comparable: choose another output.path, or the settings of that search"
            )
        if data is not None and data != self.data:
            raise InputError(
                f"{where} is of a search on other data ({self.data}; now {data}), so its trials are not comparable: "
                "choose another output.path"
            )


def read_leaderboard(text: str, where: str) -> Leaderboard:
    """The leaderboard that `Leaderboard.as_json` wrote, in this version of wals_spark or an earlier one.

    Raises
    ------
    InputError
        If ``text`` is not a leaderboard, or of a format that this version does not know.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON: {error}; move it away to start a new search") from error
    if (document.get("format"), document.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise InputError(f"{where} is no {FORMAT} of version {FORMAT_VERSION}; move it away to start a new search")
    trials = [_trial(record) for record in document["trials"]]
    in_order = tuple(sorted(trials, key=lambda trial: trial.number))
    settings = with_new_names(document["settings"], TuneSettings.renamed, warn=False)
    return Leaderboard(settings, document["data"], in_order, document["lower_is_better"])


def _trial(record: dict[str, Any]) -> Trial:
    fields = {key: value for key, value in record.items() if key != "place"}
    if "looks" in fields:  # the name in files of wals_spark 0.1
        fields["intermediate_values"] = fields.pop("looks")
    by_iteration = {int(iteration): value for iteration, value in fields["intermediate_values"].items()}
    return Trial(**{**fields, "intermediate_values": by_iteration})


def _may_differ(setting: str) -> bool:
    return setting in ("tune.trials", "tune.seeds") or setting.startswith("final.")


def _different_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Settings that differ; one that ``before`` does not know yet had its default."""
    defaults = json.loads(json.dumps(TuneSettings().shown()))
    before = {section: {**values, **before.get(section, {})} for section, values in defaults.items()}
    parameter = msgspec.to_builtins(Parameter())
    space = {
        section: {key: {**parameter, **values} for key, values in parameters.items()}
        for section, parameters in before["tune"]["space"].items()
    }
    before["tune"] = {**before["tune"], "space": space}
    return [
        f"{section}.{key}"
        for section in now
        for key in {**before.get(section, {}), **now[section]}
        if before.get(section, {}).get(key) != now[section].get(key)
    ]
