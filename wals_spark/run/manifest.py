"""The manifest: the file whose presence makes a folder a model, and what it says."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import msgspec

import wals_spark
from wals_spark.arrays.histogram import Histogram
from wals_spark.errors import InputError
from wals_spark.objective.objective import Objective
from wals_spark.run.events import HalfIteration
from wals_spark.settings.train import Config

FORMAT_VERSION = 1


def new_version_name(now: datetime) -> str:
    """The default name of a version: its time in UTC, which sorts as it reads."""
    return now.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def manifest(
    *,
    version: str,
    created: datetime,
    config: Config,
    counts: dict[str, int],
    objectives: Mapping[str, Objective],
    last: HalfIteration,
    stopped_by: str,
    spark_version: str,
    degrees: Mapping[str, Histogram],
    seconds: Mapping[str, float],
    explanation: Sequence[str],
) -> str:
    """What a reader needs to trust and to use the factor tables, as JSON.

    ``counts`` are of users, items, observations, duplicates merged and rows dropped. With biases, ``biases`` says
    which coordinate of a user's and of an item's features is the bias; the other of the two is 1. ``objectives`` are
    what was minimised, of each side: the settings together with what only the data could tell; ``explanation`` says it
    in words. ``degrees`` are of users and of items, ``seconds`` of the phases of the job.
    """
    document: dict[str, Any] = {
        "format": "wals_spark model",
        "format_version": FORMAT_VERSION,
        "version": version,
        "created": _in_utc(created),
        "tables": {
            side: {"path": side, "rows": counts[name], "columns": ["id", "features"]}
            for side, name in (("user_factors", "users"), ("item_factors", "items"))
        },
        "rank": config.train.rank,
        "score": {  # of a user's and an item's features
            "formula": "global_mean + dot(user, item)",
            "global_mean": objectives["users"].offset,
            "length": config.train.width,
            "biases": {"users": config.train.rank, "items": config.train.rank + 1} if config.train.biases else None,
        },
        "counts": counts,
        "degrees": {side: _distribution(found) for side, found in degrees.items()},
        "loss": {"total": last.loss.total, **last.loss._asdict()},
        "half_iterations": last.number,
        "stopped_by": stopped_by,
        "solved_last": last.side,
        "objectives": {side: asdict(objective) for side, objective in objectives.items()},
        "explanation": list(explanation),
        "seconds": {phase: round(spent, 3) for phase, spent in seconds.items()},
        "settings": config.as_dict(),
        "written_by": _written_by(spark_version),
    }
    return _as_text(document)


def _distribution(degrees: Histogram) -> dict[str, Any]:
    """Rows by the octave of their number of observations, which begins at ``from``."""
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


def read_manifest(text: str, where: str) -> dict[str, Any]:
    """The document that `manifest` wrote.

    Raises
    ------
    InputError
        If it is none, or of a format that this version does not know; ``where`` is what the message names.
    """
    try:
        document: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON: {error}; the model is damaged, train or copy it again") from error
    found = document.get("format_version")
    if document.get("format") != "wals_spark model" or found != FORMAT_VERSION:
        raise InputError(
            f"{where} is of format {document.get('format')!r}, version {found}; wals_spark {wals_spark.__version__} "
            f"reads version {FORMAT_VERSION}"
        )
    return document


def folded_in_manifest(
    parent: dict[str, Any],
    *,
    version: str,
    created: datetime,
    counts: dict[str, int],
    settings: dict[str, Any],
    spark_version: str,
) -> str:
    """The manifest of a version with the items of ``parent``, a manifest, and users folded in against them.

    ``counts`` are those that `manifest` has, of the interactions folded in, and ``rows_of_unknown_items``, left out;
    ``settings`` are the job's. Loss, objectives and training settings stay the parent's.
    """
    tables = {**parent["tables"], "user_factors": {**parent["tables"]["user_factors"], "rows": counts["users"]}}
    document = {
        **{key: value for key, value in parent.items() if key not in ("degrees", "seconds")},
        "version": version,
        "folded_in_from": parent["version"],
        "created": _in_utc(created),
        "tables": tables,
        "counts": counts,
        "fold_in_settings": settings,
        "written_by": _written_by(spark_version),
    }
    return _as_text(document)


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
    """The settings that a model was trained with, from its manifest.

    Raises
    ------
    InputError
        If this version of the package does not have these settings; ``where`` is what the message names.
    """
    try:
        return msgspec.convert(document["settings"], Config)
    except (KeyError, msgspec.ValidationError) as error:
        raise InputError(
            f"{where} has settings that wals_spark {wals_spark.__version__} does not know: {error}"
        ) from error


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def _written_by(spark_version: str) -> dict[str, str]:
    return {"wals_spark": wals_spark.__version__, "spark": spark_version, "python": platform.python_version()}


def _as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
