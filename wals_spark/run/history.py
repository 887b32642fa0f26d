"""What was served when, and why: one file per change below ``history/``, of which ``CURRENT`` is a copy."""

from __future__ import annotations

from typing import Literal

import msgspec

from wals_spark.errors import InputError

Action = Literal["publish", "rollback", "force", "forget", "adopt"]
_FORMAT = "wals_spark history"


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the served version.

    Attributes
    ----------
    number : int
        From 1, without gaps; the entry with the highest number says what is served.
    action : str
        ``publish`` after training or a fold-in; ``rollback``; ``force``: past the gate; ``forget``: without erased
        ids; ``adopt``: what was served before there was a history.
    version, before : str
        What is served from then on, and what was until then; ``before`` is empty for the first.
    at : str
        When, in UTC.
    why, by : str
        The reason that was given, and the user and machine that did it.
    anchor : str
        The best version served so far (`gate.anchor`); empty: not known.
    renamed : dict of str to str
        The names that versions had before ids were taken out of them, and their names since.
    """

    number: int
    action: Action
    version: str
    before: str = ""
    at: str = ""
    why: str = ""
    by: str = ""
    anchor: str = ""
    renamed: dict[str, str] = {}
    format: str = _FORMAT

    @property
    def file(self) -> str:
        """The name of its file, by which entries sort."""
        return f"{self.number:08d}.json"

    def as_json(self) -> str:
        """The text of its file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


def number_of(file: str) -> int | None:
    """The number of an entry by the name of its file; None if it is not one."""
    name = file.removesuffix(".json")
    return int(name) if name.isdecimal() and name != file else None


def read_entry(text: str, where: str) -> HistoryEntry:
    """The entry that `HistoryEntry.as_json` wrote.

    Raises
    ------
    InputError
        If it is not one; ``where`` is what the message names.
    """
    try:
        entry = msgspec.json.decode(text, type=HistoryEntry)
    except msgspec.MsgspecError as error:
        raise InputError(f"{where} is no entry of a history: {error}; restore it from a backup") from error
    if entry.format != _FORMAT:
        raise InputError(f"{where} is of format {entry.format!r}; restore it from a backup")
    return entry


def served_versions(entries: list[HistoryEntry]) -> list[str]:
    """The versions that were served, by their present names, the one that is served first, each once."""
    renamed: dict[str, str] = {}
    versions: list[str] = []
    for entry in sorted(entries, key=lambda entry: -entry.number):
        renamed.update(entry.renamed)
        for name in (entry.version, entry.before):
            present = name
            while present in renamed:
                present = renamed[present]
            if present and present not in versions:
                versions.append(present)
    return versions
