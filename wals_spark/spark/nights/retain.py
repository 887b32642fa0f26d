"""Removes versions and records of runs that are no longer kept; only who holds the lease may."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timezone

from wals_spark.nights.retention import versions_to_remove
from wals_spark.run.history import HistoryEntry, served_versions
from wals_spark.settings.retrain import Retain
from wals_spark.spark.model.history import latest_entries
from wals_spark.spark.model.publish import version_folder
from wals_spark.spark.remains import RUN_RECORD, RUNS, VERSIONS
from wals_spark.spark.storage import MANIFEST, MARK, Storage

logger = logging.getLogger("wals_spark")


def remove_old(storage: Storage, retain: Retain, guard: Callable[[], None]) -> list[str]:
    """Remove what ``retain`` does not keep, and give the names of the versions.

    Versions that were never served and that no retraining has made are not touched.
    """
    entries = latest_entries(storage, max(50, 4 * retain.versions))
    there = [name for name in storage.names(VERSIONS) if storage.exists(version_folder(name), MANIFEST)]
    served = [name for name in served_versions(entries) if name in there]
    old = versions_to_remove(
        served,
        _refused_candidates(storage, [name for name in there if name not in served]),
        retain,
        anchor=entries[0].anchor if entries else "",
        hours_since_served=_hours_since_served(entries),
    )
    for version in old:
        guard()
        remove_version(storage, version)
    _remove_old_records(storage, retain.records, guard)
    if old:
        logger.info(
            "removed versions that are no longer kept (retain.versions = %d): %s", retain.versions, ", ".join(old)
        )
    return old


def remove_version(storage: Storage, version: str) -> None:
    """Remove a version: first it is no model any more, then its files go; what a kill leaves, the next run removes."""
    folder = version_folder(version)
    storage.replace("", folder, MARK)
    storage.delete_tree(folder, MANIFEST)
    storage.delete_tree(folder)


def _refused_candidates(storage: Storage, versions: list[str]) -> list[str]:
    """Those of the versions that a retraining has made, the last one first."""
    created = {}
    for version in versions:
        manifest = json.loads(storage.read_text(version_folder(version), MANIFEST))
        if "data" in manifest:
            created[version] = manifest["created"]
    return sorted(created, key=lambda version: (created[version], version), reverse=True)


def _hours_since_served(entries: list[HistoryEntry]) -> dict[str, float]:
    """How long ago each version was replaced for the last time; ``entries`` begin with the last."""
    now, hours = datetime.now(timezone.utc), dict[str, float]()
    for entry in entries:
        if entry.before and entry.before not in hours:
            hours[entry.before] = (now - datetime.fromisoformat(entry.at)).total_seconds() / 3600.0
    return hours


def _remove_old_records(storage: Storage, kept: int, guard: Callable[[], None]) -> None:
    """Names of nights sort by time, as their schedulers give them; more than are kept have been there for longer."""
    runs = [name for name in storage.names(RUNS) if storage.exists(RUNS, name, RUN_RECORD)]
    for name in runs[: max(0, len(runs) - kept)]:
        guard()
        storage.delete_tree(RUNS, name)
