"""Publishes a version of a model: factor tables first, the manifest last, then the name of the served version."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from wals_spark.errors import ConfigError, InputError
from wals_spark.messages import quoted
from wals_spark.run.events import HalfIteration, as_jsonl
from wals_spark.run.manifest import sealed
from wals_spark.run.version_files import TABLES
from wals_spark.spark.causes import JAVA_ERRORS, Causes
from wals_spark.spark.model.files import list_files
from wals_spark.spark.storage import CURRENT, EVENTS, GRAMIANS, MANIFEST, MARK, REPORT, Storage, written_or_nothing

WORK = "_work"
_OURS = {EVENTS, GRAMIANS, REPORT, WORK, *TABLES}

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
    names = set(storage.names(folder))
    if names and MARK not in names and not (EVENTS in names and names <= _OURS):  # wals_spark 0.1 left no mark
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
def event_log(storage: Storage, folder: str) -> Iterator[Callable[[list[HalfIteration]], None]]:
    """Yield a function that writes the events of a version, a few seconds behind; at the end all are written.

    It takes all events so far. If the body of the ``with`` fails, the events until then are written too.
    """
    latest: list[HalfIteration] = []
    written = -math.inf

    def write() -> None:
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


def publish(storage: Storage, version: str, document: Mapping[str, Any], *, serve: bool) -> None:
    """Complete a version: readers wait for its manifest. With ``serve``, it becomes the served version.

    ``document`` is what the manifest says; the files of the version are added to it.
    """
    folder = version_folder(version)
    storage.delete_tree(folder, MARK)
    storage.replace(sealed(document, list_files(storage, folder)), folder, MANIFEST)
    if serve:
        storage.replace(f"{version}\n", CURRENT)


def copy_version(source: Storage, source_folder: str, target: Storage, version: str, *, serve: bool) -> None:
    """Copy a complete version to another root, byte for byte, its manifest last.

    Raises
    ------
    ConfigError
        If a version of this name is there.
    """
    with new_version(target, version) as folder:
        for name in source.names(source_folder):
            if name not in (MANIFEST, WORK, MARK):
                target.copy(source.path(source_folder, name), folder, name)
        document = json.loads(source.read_text(source_folder, MANIFEST))
        publish(target, version, {**document, "version": version}, serve=serve)
