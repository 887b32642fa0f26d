"""Publishes a version of a model: factor tables first, the manifest last, then the name of the served version."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from wals_spark.errors import ConfigError, InputError
from wals_spark.messages import quoted
from wals_spark.run.events import HalfIteration, as_jsonl
from wals_spark.run.faults import fault_point
from wals_spark.run.manifest import sealed
from wals_spark.spark.causes import JAVA_ERRORS, Causes
from wals_spark.spark.lease import sole_writer
from wals_spark.spark.model.files import list_files
from wals_spark.spark.model.history import append, restored_current
from wals_spark.spark.model.report import write_report
from wals_spark.spark.remains import is_ours
from wals_spark.spark.storage import EVENTS, MANIFEST, MARK, REPORT, Storage, written_or_nothing

WORK = "_work"

logger = logging.getLogger("wals_spark")

# A small file takes a tenth of a second to replace, on object stores more: as long as a short half-iteration.
_SECONDS_BETWEEN_WRITES = 5.0


def version_folder(version: str) -> str:
    """The folder of a version, below the model's root."""
    return f"versions/{version}"


@contextmanager
def new_version(storage: Storage, version: str) -> Iterator[str]:
    """Yield the folder of a new version, below the root; its work files are deleted at the end, however it ends.

    What a run that died left under this name is no model (it has no manifest) and is deleted first. A run that refuses
    its settings or its input leaves nothing behind.

    Raises
    ------
    ConfigError
        If a model of this name exists, or a folder that is not of this package, or the folder cannot be written.
    """
    folder = version_folder(version)
    try:
        refuse_existing(storage, version)
        _delete_unfinished(storage, folder)
    except JAVA_ERRORS as error:
        raise ConfigError(f"output.path: {quoted(storage.path(folder))} cannot be opened: {Causes(error)}") from error
    with written_or_nothing(storage, folder, errors=(ConfigError, InputError)):
        try:
            yield folder
        finally:
            storage.delete_tree(folder, WORK)


def _delete_unfinished(storage: Storage, folder: str) -> None:
    """Delete what a run that died has left, and nothing else."""
    if not storage.exists(folder):
        return
    if not is_ours(set(storage.names(folder))):
        raise ConfigError(
            f"{quoted(storage.path(folder))} is in the way and stays: it holds no {MANIFEST} and is not of wals_spark; "
            "move it, or set output.version"
        )
    storage.delete_tree(folder)


def refuse_existing(storage: Storage, version: str) -> None:
    """Refuse to write over a model.

    Raises
    ------
    ConfigError
        If a complete model of this name exists.
    """
    folder = version_folder(version)
    if storage.exists(folder, MANIFEST):
        raise ConfigError(
            f"output.version = {version}: {storage.path(folder)} is a complete model and stays; choose another name"
        )


@contextmanager
def event_log(
    storage: Storage, folder: str, guard: Callable[[], None] = lambda: None
) -> Iterator[Callable[[list[HalfIteration]], None]]:
    """Yield a function that writes the events of a version, a few seconds behind; at the end all are written.

    It takes all events so far. If the body of the ``with`` fails, the events until then are written too. ``guard``
    raises if this run may no longer write.
    """
    latest: list[HalfIteration] = []
    written = -math.inf

    def write() -> None:
        guard()
        storage.replace(as_jsonl(latest), folder, EVENTS)

    def log(events: list[HalfIteration]) -> None:
        nonlocal latest, written
        latest = [*events]
        if time.monotonic() - written >= _SECONDS_BETWEEN_WRITES:
            write()
            written = time.monotonic()

    try:
        yield log
    except BaseException:
        with suppress(Exception):  # storage may be what failed, and the first error is the one to read
            write()
        raise
    write()


def publish(
    storage: Storage,
    version: str,
    document: Mapping[str, Any],
    *,
    to_serve: bool,
    guard: Callable[[], None] = lambda: None,
) -> None:
    """Complete a version: readers wait for its manifest. With ``to_serve``, it becomes the served version.

    ``document`` is what the manifest says; the files of the version are added to it. ``guard`` raises if this run may
    no longer write.
    """
    folder = version_folder(version)
    storage.force(folder)
    text = sealed(document, list_files(storage, folder))
    fault_point("before_manifest")
    guard()
    storage.replace(text, folder, MANIFEST)
    fault_point("after_manifest")
    storage.delete_tree(folder, MARK)
    if to_serve:
        guard()
        serve(storage, version)
    fault_point("after_current")


def serve(storage: Storage, version: str, *, unless_later_than: bool = False) -> None:
    """Make a complete version the served one; ``unless_later_than``: unless one that was created later is."""
    last = restored_current(storage)
    if last is not None and last.version == version:
        return
    if unless_later_than and last is not None and _created(storage, last.version) > _created(storage, version):
        logger.warning("version %s stays the served one: it is later than %s", last.version, version)
        return
    append(storage, last, "publish", version)


def _created(storage: Storage, version: str) -> str:
    folder = version_folder(version)
    if not storage.exists(folder, MANIFEST):
        return ""
    return str(json.loads(storage.read_text(folder, MANIFEST))["created"])


def copy_version(source: Storage, source_folder: str, target: Storage, version: str, *, to_serve: bool) -> None:
    """Copy a complete version to another root, byte for byte, its manifest last.

    Raises
    ------
    ConfigError
        If a version of this name is there.
    """
    with sole_writer(target, version) as guard, new_version(target, version) as folder:
        for name in source.names(source_folder):
            if name not in (MANIFEST, WORK, MARK):
                target.copy(source.path(source_folder, name), folder, name)
        document = {**json.loads(source.read_text(source_folder, MANIFEST)), "version": version}
        if not target.exists(folder, REPORT):
            write_report(target, folder, document)
        publish(target, version, document, to_serve=to_serve, guard=guard)
        logger.info("published version %s: %s", version, target.path(folder))
