"""The history of a root on storage: every change of the served version, each written once, and `CURRENT`, its copy."""

from __future__ import annotations

import getpass
import logging
import socket
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import msgspec

from wals_spark.errors import HeldError
from wals_spark.messages import quoted
from wals_spark.run.faults import fault_point
from wals_spark.run.history import Action, HistoryEntry, number_of, read_entry
from wals_spark.spark.storage import CURRENT, MANIFEST, Storage

logger = logging.getLogger("wals_spark")

HISTORY = "history"


def served_version(storage: Storage) -> str:
    """The name of the version that `CURRENT` names; empty without one."""
    return storage.read_text(CURRENT).strip() if storage.exists(CURRENT) else ""


def last_entry(storage: Storage) -> HistoryEntry | None:
    """The last change; None without a history."""
    numbers = _numbers(storage)
    return _read(storage, max(numbers)) if numbers else None


def latest_entries(storage: Storage, n: int) -> list[HistoryEntry]:
    """The last ``n`` changes, the last one first."""
    return [_read(storage, number) for number in sorted(_numbers(storage), reverse=True)[:n]]


def restored_current(storage: Storage) -> HistoryEntry | None:
    """Make `CURRENT` say what the history says, and give its last entry; only who holds the lease may.

    They differ where a run died between both, or someone has written `CURRENT` by hand. A root without a history that
    serves a version gets its first entry.
    """
    _remove_half_written(storage)
    last, current = last_entry(storage), served_version(storage)
    if last is None and current and storage.exists("versions", current, MANIFEST):
        last = append(storage, None, "adopt", current)
    if last is not None and current != last.version:
        if current:
            logger.warning(
                "%s names %s, but by the history %s is served, and is again: change it with jobs/publish.py",
                storage.path(CURRENT), quoted(current), last.version,
            )  # fmt: skip
        storage.replace(f"{last.version}\n", CURRENT)
    return last


def append(storage: Storage, last: HistoryEntry | None, action: Action, version: str, **details: Any) -> HistoryEntry:
    """Write the change that follows ``last``, and `CURRENT`; ``details`` are more fields of the entry.

    Raises
    ------
    HeldError
        If another process has written a change after ``last``: nothing is changed.
    """
    entry = HistoryEntry(
        number=1 if last is None else last.number + 1,
        action=action,
        version=version,
        before="" if last is None else last.version,
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        by=_by(),
        anchor="" if last is None else last.anchor,
    )
    entry = msgspec.structs.replace(entry, **details)
    if not storage.create_new(entry.as_json(), HISTORY, entry.file):
        raise HeldError(
            f"{quoted(storage.root)}: another process has changed the served version meanwhile "
            f"({storage.path(HISTORY, entry.file)}), so version {version} is not served; run again"
        )
    fault_point("after_history")
    storage.replace(f"{version}\n", CURRENT)
    return entry


def _remove_half_written(storage: Storage) -> None:
    """A name node creates a file before it has content: one that was never written is no entry."""
    numbers = _numbers(storage)
    if numbers:
        where = (HISTORY, HistoryEntry(number=max(numbers), action="publish", version="").file)
        if not storage.read_text(*where):
            storage.delete_tree(*where)


def _numbers(storage: Storage) -> list[int]:
    return [number for name in storage.names(HISTORY) if (number := number_of(name)) is not None]


def _read(storage: Storage, number: int) -> HistoryEntry:
    file = HistoryEntry(number=number, action="publish", version="").file
    return read_entry(storage.read_text(HISTORY, file), storage.path(HISTORY, file))


def _by() -> str:
    name = "unknown"
    with suppress(Exception):  # a container's user may have no name
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}"
