"""run.json: what a run is doing, or how it ended, and the settings that it may be gone on with."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

import wals_spark
from wals_spark.errors import ConfigError, InputError
from wals_spark.settings.train import Config

State = Literal["running", "published", "skipped", "failed", "refused", "interrupted"]
JobOfRun = Literal["train", "retrain"]
_FORMAT = "wals_spark run"
_FREE = ("run", "checkpoint", "lease", "data", "gate", "retain")  # sections that may differ when a run goes on
_FREE_OUTPUT = ("path", "publish")


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run.

    Attributes
    ----------
    run, version : str
        The names of the run and of the version that it writes.
    state, step : str
        ``running`` at a step, or how it ended and where.
    exit_code : int, optional
        What the job returned; None while it runs, and of a run that was killed.
    message : str
        Why it failed, or was skipped.
    job : str
        What it runs: a training, or a night's retraining.
    steps : dict of str to float
        The steps of this attempt, and after how many seconds each began.
    details : dict
        Of a night: the figures of its data and of the gate.
    attempts : int
        How often it was started.
    seconds : float
        Of this attempt, until the record was written.
    warm_start, align : str
        The versions that training starts from, and that its factors are rotated towards, if there are any.
    settings : dict
        Those that the model depends on.
    """

    run: str
    version: str
    state: State = "running"
    step: str = ""
    exit_code: int | None = None
    message: str = ""
    job: JobOfRun = "train"
    attempts: int = 1
    started: str = ""
    seconds: float = 0.0
    warm_start: str = ""
    align: str = ""
    steps: dict[str, float] = {}
    details: dict[str, Any] = {}
    written_by: dict[str, str] = {}
    settings: dict[str, Any] = {}
    format: str = _FORMAT

    def as_json(self) -> str:
        """The text of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def refuse_other(self, config: Config, spark_version: str, where: str) -> None:
        """Refuse to go on with a run of other settings, or of another version of this package or of Spark.

        Raises
        ------
        ConfigError
            With the settings that differ.
        """
        now = settings_of_model(config)
        names = sorted({*self.settings, *now})
        different = [name for name in names if self.settings.get(name) != now.get(name)]
        if different:
            shown = ", ".join(f"{name} = {now.get(name)} (it was {self.settings.get(name)})" for name in different[:5])
            raise ConfigError(
                f"{where} is of a run with other settings: {shown}. Take those, or another run.id (or output.version), "
                "or start this one again with checkpoint.resume = never"
            )
        versions = written_by(spark_version)
        others = [
            f"{name} {self.written_by.get(name)} and not {versions[name]}"
            for name in ("wals_spark", "spark")
            if self.written_by.get(name) != versions[name]
        ]
        if others and self.state != "published":
            raise ConfigError(
                f"{where} is of a run with {', '.join(others)}, which may give another model: start it again with "
                "checkpoint.resume = never"
            )


def read_run_record(text: str, where: str) -> RunRecord:
    """The record that `RunRecord.as_json` wrote.

    Raises
    ------
    InputError
        If it is no such record.
    """
    try:
        record = msgspec.json.decode(text, type=RunRecord)
    except msgspec.MsgspecError as error:
        raise InputError(f"{where} is no record of a run: {error}; move it away to start again") from error
    if record.format != _FORMAT:
        raise InputError(f"{where} is of format {record.format!r}; move it away to start again")
    return record


def settings_of_model(config: Config) -> dict[str, Any]:
    """The settings that a model depends on, by their full names, as JSON has them."""
    shown: Mapping[str, Mapping[str, Any]] = json.loads(json.dumps(config.shown()))
    return {
        f"{section}.{key}": value
        for section, values in shown.items()
        if section not in _FREE
        for key, value in values.items()
        if not (section == "output" and key in _FREE_OUTPUT)
    }


def written_by(spark_version: str) -> dict[str, str]:
    """The versions that the bits of a model depend on."""
    return {"wals_spark": wals_spark.__version__, "spark": spark_version, "python": platform.python_version()}
