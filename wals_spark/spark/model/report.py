"""report.html in a version's folder, made of what lies beside it."""

from __future__ import annotations

import logging
from typing import Any

from wals_spark.reports.training_report import training_report
from wals_spark.run.events import read_jsonl
from wals_spark.spark.storage import EVENTS, REPORT, Storage

logger = logging.getLogger("wals_spark")


def write_report(
    storage: Storage, folder: str, manifest: dict[str, Any], metrics: dict[str, Any] | None = None
) -> None:
    """Write the report of a version, or write it anew with ``metrics``; whatever goes wrong is a warning.

    A model is as good without it: neither a training nor an evaluation fails for its picture.
    """
    try:
        events = read_jsonl(storage.read_text(folder, EVENTS)) if storage.exists(folder, EVENTS) else []
        storage.replace(training_report(manifest, events, metrics), folder, REPORT)
    except Exception as error:
        logger.warning("no %s is written: %s: %s", storage.path(folder, REPORT), type(error).__name__, error)
