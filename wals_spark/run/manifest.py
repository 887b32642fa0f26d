"""The manifest: the file whose presence makes a folder a model, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

import msgspec

import wals_spark
from wals_spark.arrays.histogram import Histogram
from wals_spark.errors import InputError
from wals_spark.objective.objective import Objective
from wals_spark.run.events import HalfIteration
from wals_spark.run.run_record import written_by
from wals_spark.run.sealed import checksum, sealed_json
from wals_spark.run.version_files import VersionFile
from wals_spark.settings.loader import with_new_names
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.train import Config

FORMAT_VERSION = 2
_READABLE = (1, 2)


def new_version_name(now: datetime) -> str:
    """The default name of a version: its time in UTC, which sorts as it reads."""
    return now.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True)
class TrainingRun:
    """A training run that is over: what its manifest says.

    Attributes
    ----------
    automatic : sequence of str
        The settings of ``config`` that were ``auto``, by their full names.
    counts : dict of str to int
        ``users``, ``items``, ``observations``, ``duplicates_merged`` and ``rows_dropped``.
    objectives : dict of str to Objective
        What was minimised, of each side: the settings, and what only the data could tell.
    objective_summary : sequence of str
        The same in words (`objective_summary.py`).
    last : HalfIteration
        The half-iteration that the model is of: the one that ended training, or that of the best iteration.
    iterations : int
        The number of iterations, of which the model may not be the last.
    degrees : dict of str to Histogram
        Observations per user and per item.
    seconds : dict of str to float
        Seconds per phase.
    run : str
        The name of the run, if it has one.
    more : dict
        What else the manifest says: ``warm_start``, and what a retraining adds.
    """

    version: str
    created: datetime
    config: ResolvedConfig
    automatic: Sequence[str]
    counts: Mapping[str, int]
    objectives: Mapping[str, Objective]
    objective_summary: Sequence[str]
    last: HalfIteration
    iterations: int
    stopped_by: str
    degrees: Mapping[str, Histogram]
    seconds: Mapping[str, float]
    spark_version: str
    run: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldInRun:
    """A batch fold-in that is over: what its manifest says beyond that of the version it started from.

    ``counts`` are those of `TrainingRun`, of the interactions folded in, and ``rows_of_unknown_items``, the rows that
    were left out; ``settings`` are the job's.
    """

    version: str
    created: datetime
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    spark_version: str


def training_manifest(run: TrainingRun) -> dict[str, Any]:
    """What a reader needs to trust and to use the factor tables; `sealed` makes it a manifest.

    With biases, ``biases`` says which coordinate of a user's and of an item's features is the bias; the other of the
    two is 1.
    """
    return {
        "format": "wals_spark model",
        "format_version": FORMAT_VERSION,
        "version": run.version,
        **({"run": run.run} if run.run else {}),
        "created": _in_utc(run.created),
        "tables": {
            table: {"path": table, "rows": run.counts[side], "columns": ["id", "features"]}
            for table, side in (("user_factors", "users"), ("item_factors", "items"))
        },
        "rank": run.config.train.rank,
        "score": _score(run),
        "counts": dict(run.counts),
        "degrees": {side: _distribution(degrees) for side, degrees in run.degrees.items()},
        "loss": {"total": run.last.loss.total, **run.last.loss._asdict()},
        "half_iterations": run.last.number,
        "stopped_by": run.stopped_by,
        **_held_out(run),
        **run.more,
        "solved_last": run.last.side,
        "objectives": {side: asdict(objective) for side, objective in run.objectives.items()},
        "explanation": list(run.objective_summary),
        "seconds": {phase: round(seconds, 3) for phase, seconds in run.seconds.items()},
        "settings": run.config.shown(),
        "automatic": list(run.automatic),
        "written_by": written_by(run.spark_version),
    }


def _held_out(run: TrainingRun) -> dict[str, Any]:
    """The metric of the model on held-out interactions, and which of the iterations it is of."""
    of = {"metric": run.config.held_out_metric, "value": run.last.metric, "iteration": run.last.iteration}
    return {} if run.last.metric is None else {"held_out": {**of, "iterations": run.iterations}}


def sealed(document: Mapping[str, Any], files: Sequence[VersionFile]) -> str:
    """A manifest as JSON: the document, the files of the version, and a checksum of the manifest itself."""
    whole = {**document, "format_version": FORMAT_VERSION, "files": msgspec.to_builtins(files)}
    return sealed_json(whole)


def _score(run: TrainingRun) -> dict[str, Any]:
    """How a score is computed from the features of a user and of an item."""
    train = run.config.train
    return {
        "formula": "global_mean + dot(user, item)",
        "global_mean": run.objectives["users"].offset,
        "length": train.width,
        "biases": {"users": train.rank, "items": train.rank + 1} if train.biases else None,
    }


def _distribution(degrees: Histogram) -> dict[str, Any]:
    """How many rows have how many observations: per octave, which begins at ``from``, and in quantiles."""
    octaves = degrees.octaves()
    median, p99, most = degrees.quantiles([0.5, 0.99, 1.0])
    return {
        "from": list(octaves),
        "rows": list(octaves.values()),
        "mean": round(degrees.mean, 2),
        "median": round(median),
        "p99": round(p99),
        "most": round(most),
    }


class _Table(msgspec.Struct):
    path: str
    rows: int


class _Score(msgspec.Struct):
    formula: str
    global_mean: float
    length: int
    biases: dict[str, int] | None


class _Manifest(msgspec.Struct):
    """What every manifest has, by type; the rest is for people."""

    version: str
    created: str
    tables: dict[Literal["user_factors", "item_factors"], _Table]
    rank: int
    score: _Score
    counts: dict[str, int]
    loss: dict[str, float]
    half_iterations: int
    stopped_by: str
    solved_last: str
    objectives: dict[Literal["users", "items"], Objective]
    settings: dict[str, dict[str, Any]]
    written_by: dict[str, str]


class _Sealed(_Manifest):
    """What a manifest has since format version 2."""

    explanation: list[str]
    files: list[VersionFile]
    sha256: str


def read_manifest(text: str, where: str) -> dict[str, Any]:
    """The document that `sealed` wrote.

    Raises
    ------
    InputError
        If it is no manifest, is not as it was written, or is of a format that this version does not know; ``where`` is
        what the message names.
    """
    damaged = "the model is damaged: train or copy it again"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON: {error}; {damaged}") from error
    if not isinstance(document, dict):
        raise InputError(f"{where} is no manifest; {damaged}")
    format_version = document.get("format_version")
    if document.get("format") != "wals_spark model" or format_version not in _READABLE:
        raise InputError(
            f"{where} is of format {document.get('format')!r}, version {format_version}; "
            f"wals_spark {wals_spark.__version__} reads versions {_READABLE[0]} to {_READABLE[-1]}"
        )
    try:
        msgspec.convert(document, _Sealed if format_version > 1 else _Manifest)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}; {damaged}") from error
    if format_version > 1 and document["sha256"] != checksum(document):
        raise InputError(f"{where} is not as it was written: its own checksum differs; {damaged}")
    return document


def files_of_manifest(document: Mapping[str, Any]) -> list[VersionFile]:
    """The files that a manifest lists; none before format version 2."""
    return msgspec.convert(document.get("files", []), list[VersionFile])


def fold_in_manifest(parent: Mapping[str, Any], run: FoldInRun) -> dict[str, Any]:
    """What the manifest says of a version with the items of ``parent``, a manifest, and users folded in against them.

    Loss, objectives and training settings stay the parent's.
    """
    tables = {**parent["tables"], "user_factors": {**parent["tables"]["user_factors"], "rows": run.counts["users"]}}
    return {
        **{key: value for key, value in parent.items() if key not in ("degrees", "seconds", "files", "sha256")},
        "version": run.version,
        "folded_in_from": parent["version"],
        "created": _in_utc(run.created),
        "tables": tables,
        "counts": dict(run.counts),
        "fold_in_settings": dict(run.settings),
        "written_by": written_by(run.spark_version),
    }


def read_objectives(document: dict[str, Any], where: str) -> dict[str, Objective]:
    """What was minimised, by side, from a manifest.

    Raises
    ------
    InputError
        If the manifest does not say; ``where`` is what the message names.
    """
    try:
        return msgspec.convert(document["objectives"], dict[str, Objective])
    except (KeyError, msgspec.ValidationError) as error:
        raise InputError(
            f"{where} does not say what was minimised ({error}), so nothing can be folded in; train the model again"
        ) from error


def read_training_settings(document: dict[str, Any], where: str) -> Config:
    """The settings that a model was trained with, from its manifest, whatever they were called when it was written.

    Raises
    ------
    InputError
        If this version of the package does not have these settings; ``where`` is what the message names.
    """
    try:
        settings = with_new_names(document["settings"], Config.renamed, warn=False)
        return msgspec.convert(Config.completed(settings), Config)
    except (KeyError, msgspec.ValidationError) as error:
        raise InputError(
            f"{where} has settings that wals_spark {wals_spark.__version__} does not know: {error}"
        ) from error


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
