"""Where a model's ids have gone besides its own root: one small file per export, for who has to erase an id."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import datetime, timezone
from typing import NamedTuple

from wals_spark.spark.causes import STORAGE_ERRORS, Causes
from wals_spark.spark.model.open import ModelVersion
from wals_spark.spark.storage import Storage

logger = logging.getLogger("wals_spark")

EXPORTS = "exports"


class Export(NamedTuple):
    """A folder that has ids of a version: what it has, such as recommendations, and since when."""

    file: str
    path: str
    what: str
    version: str
    at: str


def note_export(model: ModelVersion, path: str, what: str) -> None:
    """Note beside a model that a folder has ids of it; who may not write there is told."""
    document = {
        "path": path,
        "what": what,
        "version": model.version,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    try:
        model.storage.create_new(json.dumps(document) + "\n", EXPORTS, f"{uuid.uuid4().hex}.json")
    except STORAGE_ERRORS as error:
        logger.info("%s is not noted beside the model, for jobs/forget.py: %s", path, Causes(error))


def exports_of(storage: Storage) -> list[Export]:
    """The exports of a root that are still there, the first one first; those that are gone are no longer noted."""
    exports = []
    for file in storage.names(EXPORTS):
        document = json.loads(storage.read_text(EXPORTS, file))
        export = Export(file, **{name: document[name] for name in Export._fields if name != "file"})
        try:
            is_there = Storage(storage.spark, export.path).exists()
        except (ValueError, *STORAGE_ERRORS):
            is_there = True  # as far as anyone can tell from here
        if is_there:
            exports.append(export)
        else:
            storage.delete_tree(EXPORTS, file)
    return sorted(exports, key=lambda export: export.at)
