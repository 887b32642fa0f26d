"""Changes which version is served, by hand: another version, the one before, or one that the gate refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError, GateError
from wals_spark.messages import quoted
from wals_spark.nights.gate import GATE_FILE
from wals_spark.run.history import HistoryEntry, served_versions
from wals_spark.settings.publish import PublishSettings
from wals_spark.settings.training import SERVED
from wals_spark.spark.lease import sole_writer
from wals_spark.spark.model.history import append, latest_entries, restored_current
from wals_spark.spark.model.open import open_version
from wals_spark.spark.model.publish import version_folder
from wals_spark.spark.storage import MANIFEST, Storage

logger = logging.getLogger("wals_spark")

_ENTRIES = 400  # of the history, in which a version is looked for


def run_publish(spark: SparkSession, settings: PublishSettings) -> None:
    """Do what the settings say.

    Raises
    ------
    InputError
        If the version is not there, or is damaged.
    GateError
        If the gate refused it.
    """
    options, root = settings.publish, settings.model.path
    if options.verify:
        version = "" if options.verify == SERVED else options.verify
        print(f"version {open_version(spark, root, version).version} is as it was written")
        return
    storage = Storage(spark, root)
    with sole_writer(storage, "publish", settings=settings.lease) as check:
        last = restored_current(storage)
        if options.rollback:
            entry = _rolled_back(storage, last, settings, check)
        else:
            entry = _served(storage, last, settings, check)
    print(f"version {entry.version} is served; before: {entry.before or 'none'}")


def _rolled_back(
    storage: Storage, last: HistoryEntry | None, settings: PublishSettings, check: Callable[[], None]
) -> HistoryEntry:
    """Serve the version before, or the one that is named; it is compared with its manifest first."""
    options = settings.publish
    there = [
        version
        for version in served_versions(latest_entries(storage, _ENTRIES))[1:]
        if storage.exists(version_folder(version), MANIFEST)
    ]
    if last is None or not there:
        raise ConfigError(f"publish.rollback: no version was served in {quoted(storage.root)} before the present one")
    target = options.to or there[0]
    if target not in there:
        raise ConfigError(f"publish.to = {target}: it was not served before; there are {', '.join(there)}")
    open_version(storage.spark, storage.root, target)
    check()
    anchor = target if last.anchor == last.version else last.anchor
    return append(storage, last, "rollback", target, why=options.why, anchor=anchor)


def _served(
    storage: Storage, last: HistoryEntry | None, settings: PublishSettings, check: Callable[[], None]
) -> HistoryEntry:
    """Serve a version, past the gate only with a reason."""
    version, options = settings.model.version, settings.publish
    open_version(storage.spark, storage.root, version)
    if last is not None and last.version == version:
        logger.info("version %s is served already", version)
        return last
    where = (version_folder(version), GATE_FILE)
    gate = json.loads(storage.read_text(*where)) if storage.exists(*where) else None
    if gate is not None and not gate["passed"] and not options.force:
        raise GateError(
            f"version {version} was refused by the gate: {'; '.join(gate['reasons'])}. To serve it all the same, add "
            "--force and --why"
        )
    check()
    return append(storage, last, "force" if options.force else "publish", version, why=options.why)
