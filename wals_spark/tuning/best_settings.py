"""The best settings of a search as a configuration that training takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings
from wals_spark.settings.values import to_text
from wals_spark.tuning.leaderboard import Trial

_TRAINED = ("confidence", "train")


def changed_settings(config: Config) -> dict[str, Any]:
    """The settings of confidence and training that are not defaults, by their full names."""
    usual, values = Config().as_dict(), config.as_dict()
    return {
        f"{section}.{key}": value
        for section in _TRAINED
        for key, value in values[section].items()
        if value != usual[section][key]
    }


def best_settings(settings: TuneSettings, best: Trial) -> str:
    """TOML for jobs/train.py: the interactions of the search, and what its best trial was trained with."""
    usual = Config().as_dict()["input"]
    source = {key: value for key, value in settings.shown()["input"].items() if value != usual[key]}
    tables: dict[str, Mapping[str, Any]] = {"input": source}
    for section in _TRAINED:
        prefix = f"{section}."
        tables[section] = {name.removeprefix(prefix): v for name, v in best.trained.items() if name.startswith(prefix)}
    tables["output"] = {"path": "model"}
    where, metric = settings.shown()["output"]["path"], settings.tune.metric
    lines = [
        f"# Trial {best.number + 1} of the search in {where}: {metric} {best.value}.",
        "# Reader options that may be secrets are not shown: set those again.",
        "",
    ]
    for section, values in tables.items():
        if values:
            lines += [f"[{section}]", *(f"{key} = {to_text(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)
