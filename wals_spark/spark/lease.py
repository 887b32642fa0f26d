"""The lease on a root: one run writes below it, and one that was overtaken notices before it writes again.

A lease is the file of the highest number in ``leases/``. Who takes it creates the next number, which the storage lets
one of several do, and renews it while it works; the number is the token. Before a run deletes anything, or completes or
serves a version, it looks whether its token is still the highest (Burrows, OSDI 2006, calls it a sequencer).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any, NamedTuple

from wals_spark.errors import ConfigError, HeldError
from wals_spark.messages import quoted
from wals_spark.settings.run import Lease as LeaseSettings
from wals_spark.spark.causes import STORAGE_ERRORS, Causes, raise_as_refused
from wals_spark.spark.process import is_gone, this_process
from wals_spark.spark.stopping import Stop, raise_if_stopped, stoppable
from wals_spark.spark.storage import Storage

logger = logging.getLogger("wals_spark")

LEASES = "leases"
_SECONDS_BETWEEN_RENEWALS = 3.0
_SECONDS_BETWEEN_LOOKS = 0.5
_SUFFIX = ".json"


class _Seen(NamedTuple):
    """The highest token below a root, 0 if there is none, and the text of its file."""

    token: int
    text: str

    @property
    def document(self) -> Mapping[str, Any]:
        """What the holder says of itself; nothing while it is being written."""
        with suppress(ValueError):
            document = json.loads(self.text)
            if isinstance(document, dict):
                return document
        return {}

    @property
    def is_free(self) -> bool:
        document = self.document
        return not self.token or document.get("state") == "released" or is_gone(document.get("process", {}))

    def __str__(self) -> str:
        process = self.document.get("process", {})
        return (
            f"run {self.document.get('run', '?')}, process {process.get('pid', '?')} on {process.get('host', '?')}, "
            f"since {self.document.get('since', '?')}"
        )


class Lease:
    """A lease that this run holds; ``token`` is higher than that of any run before."""

    def __init__(self, storage: Storage, token: int, document: dict[str, Any], stop: Stop) -> None:
        self.token = token
        self._storage = storage
        self._document = document
        self._stop = stop
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="wals_spark lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Refuse to go on if another run has taken over.

        Raises
        ------
        HeldError
            With who it is.
        """
        if max(_tokens(self._storage), default=0) > self.token:
            raise HeldError(
                f"{quoted(self._storage.root)} was taken over by {_highest(self._storage)}, because this run did not "
                "renew its lease for too long; nothing more is written"
            )

    def release(self) -> None:
        """Let others have it at once."""
        self._ended.set()
        self._thread.join(timeout=60.0)
        with suppress(*STORAGE_ERRORS):  # it becomes stale, too
            if max(_tokens(self._storage), default=0) == self.token:
                self._write("released")

    def _renew_until_ended(self) -> None:
        beat = 0
        while not self._ended.wait(_SECONDS_BETWEEN_RENEWALS):
            beat += 1
            try:
                self.check()
                self._write("held", beat)
            except HeldError as error:
                self._stop.request(error)
                return
            except STORAGE_ERRORS as error:
                logger.warning("the lease on %s could not be renewed: %s", self._storage.root, Causes(error))

    def _write(self, state: str, beat: int = 0) -> None:
        self._storage.replace(_as_text({**self._document, "state": state, "beat": beat}), *_file(self.token))


@contextmanager
def held_lease(storage: Storage, run: str, settings: LeaseSettings, stop: Stop) -> Iterator[Lease | None]:
    """Hold the lease on a root until the end of the ``with``; None where the settings do without one.

    Raises
    ------
    ConfigError
        If the storage cannot be written, or cannot give a lease and the settings require one.
    HeldError
        If another run holds it: which, where, and since when.
    """
    try:
        if not storage.decides(LEASES, ".probe"):
            if settings.required:
                raise ConfigError(
                    f"output.path: {quoted(storage.root)} cannot keep two runs apart: it creates no object on the "
                    "condition that there is none (S3A does from Hadoop 3.4.2 on). See to it that one run at a time "
                    "writes there, and set lease.required = false"
                )
            yield None
            return
        lease = _taken(storage, run, settings.stale_seconds, stop)
    except STORAGE_ERRORS as error:
        raise_as_refused(error, f"output.path: {quoted(storage.root)} cannot be written")
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def sole_writer(
    storage: Storage, name: str, *, settings: LeaseSettings | None = None, exclusive: bool = True
) -> Iterator[Callable[[], None]]:
    """Keep others from a root while something called ``name`` is written below it; yields what is called before.

    It raises if this run may no longer write. A root that no other can know need not be held ``exclusive``.

    Raises
    ------
    ConfigError, HeldError
        As `held_lease`.
    """
    with stoppable(storage.spark) as stop:
        if not exclusive:
            yield raise_if_stopped
            return
        with held_lease(storage, name, settings or LeaseSettings(), stop) as lease:

            def check() -> None:
                raise_if_stopped()
                if lease is not None:
                    lease.check()

            yield check


def _taken(
    storage: Storage, run: str, stale_seconds: float, stop: Stop, clock: Callable[[], float] = time.monotonic
) -> Lease:
    """Take the lease: at once if it is free, else when nothing has renewed it for ``stale_seconds`` by our clock."""
    document = {
        "format": "wals_spark lease",
        "run": run,
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "process": this_process(),
    }
    seen, since = _highest(storage), clock()
    while True:
        is_stale = clock() - since >= stale_seconds
        if seen.is_free or is_stale:
            token = seen.token + 1
            if storage.create_new(_as_text({**document, "state": "held", "beat": 0}), *_file(token)):
                if is_stale and not seen.is_free:
                    logger.warning("took over %s from %s, which has not renewed its lease", storage.root, seen)
                _delete_older(storage, token)
                return Lease(storage, token, document, stop)
        else:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        now = _highest(storage)
        if now != seen and not now.is_free:
            raise HeldError(f"{quoted(storage.root)} is held by {now}; run again when it has ended")
        if now != seen:
            seen, since = now, clock()


def _highest(storage: Storage) -> _Seen:
    """The latest lease. A file that goes while it is read is looked for again: its successor is there."""
    for _ in range(10):
        tokens = _tokens(storage)
        if not tokens:
            return _Seen(0, "")
        with suppress(*STORAGE_ERRORS):
            return _Seen(max(tokens), storage.read_text(*_file(max(tokens))))
    return _Seen(max(tokens), "")


def _tokens(storage: Storage) -> list[int]:
    numbers = (name.removesuffix(_SUFFIX) for name in storage.names(LEASES))
    return [int(number) for number in numbers if number.isdecimal()]


def _delete_older(storage: Storage, token: int) -> None:
    for name in storage.names(LEASES):
        number = name.removesuffix(_SUFFIX)
        if not number.isdecimal() or int(number) < token:
            storage.delete_tree(LEASES, name)


def _file(token: int) -> tuple[str, str]:
    return LEASES, f"{token:012d}{_SUFFIX}"


def _as_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document) + "\n"
