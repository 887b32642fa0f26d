"""The files of a version as its manifest lists them, and what is wrong with those that are there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from wals_spark.errors import InputError
from wals_spark.messages import quoted

TABLES = ("user_factors", "item_factors", "item_weights")
"""Folders of a version, whose files are all listed: one more would be read as a part of the table."""


class VersionFile(msgspec.Struct, frozen=True):
    """A file of a version: its path in the version's folder, its size, what it holds.

    ``rows`` is of a part of a table; None of other files.
    """

    path: str
    bytes: int
    sha256: str
    rows: int | None = None


def refuse_other_files(listed: Iterable[VersionFile], found: Mapping[str, tuple[int, str]], where: str) -> None:
    """Refuse a version whose files are not those of its manifest.

    ``found`` has sizes and SHA-256 by path.

    Raises
    ------
    InputError
        With the first file that is missing, that nobody has listed, or that differs, in the folder ``where``.
    """
    expected = {file.path: file for file in listed}
    for path in sorted({*expected, *found}):
        fault = _fault(expected.get(path), found.get(path), path)
        if fault:
            raise InputError(
                f"{quoted(f'{where}/{path}')} {fault}: the model is damaged; copy this version again, train it again, "
                "or name another one"
            )


def _fault(expected: VersionFile | None, found: tuple[int, str] | None, path: str) -> str:
    if expected is None:
        return "is not a file of this version" if path.startswith(TABLES) else ""
    if found is None:
        return "is missing"
    size, digest = found
    if size != expected.bytes:
        return f"has {size} bytes, where the manifest says {expected.bytes}"
    return "" if digest == expected.sha256 else "is not what was written: its SHA-256 differs from the manifest's"


def local_files(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Sizes and SHA-256 of some files, and of those in some folders, of a version in a local folder."""
    files: dict[str, tuple[int, str]] = {}
    for name in names:
        below = folder / name
        for path in sorted(below.iterdir()) if below.is_dir() else [below] if below.exists() else []:
            if not path.name.startswith((".", "_")):
                content = path.read_bytes()
                files[path.relative_to(folder).as_posix()] = len(content), hashlib.sha256(content).hexdigest()
    return files
