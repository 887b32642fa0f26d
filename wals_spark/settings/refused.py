"""What is wrong with a value that a setting does not take, in the words of the settings' names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from wals_spark.messages import quoted
from wals_spark.settings.values import choices_of, is_table_of_text, number_type, section_at, type_at, without_none


def explained(
    error: msgspec.ValidationError, kind: type[msgspec.Struct], values: Any, source: str | Path | None
) -> str:
    """Msgspec's message in the words of the settings' names, with the nearest known name or the choices."""
    message = re.match(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", str(error), re.DOTALL)
    what, where = (message["what"], message["where"] or "") if message else (str(error), "")
    origin = f"configuration {quoted(source)}" if source is not None else "configuration"
    path = [name for name in where.replace("[...]", ".*").split(".") if name]  # [...]: any key of a table
    path = _at_fault(values, path, kind)
    where = ".".join(path)
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown:
        section = type_at(kind, path) or kind
        known = [field.encode_name for field in msgspec.structs.fields(section)]
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{origin}: unknown setting {where + '.' * bool(where)}{unknown[1]}; {hint}"
    number, words = number_type(type_at(kind, path))
    if number and words and not what.startswith(f"Expected `{number.__name__}` "):  # it is not out of its limits
        what = f"a number, or {' or '.join(words)}, is needed"
    elif words and bool in get_args(without_none(type_at(kind, path))[0]):
        what = f"true, false or {' or '.join(words)} is needed"
    elif what.startswith("Invalid enum value"):
        what += f"; one of {', '.join(filter(None, choices_of(type_at(kind, path))))}"
    if "matching regex" in what:  # of a version, the only text with a pattern
        what = "a name of at most 200 letters, digits, '.', '_' and '-' is needed, and no '.', '_' or '-' at its start"
    return f"{origin}: {where or 'top level'}: {what[:1].lower()}{what[1:]}"


def _at_fault(values: Any, path: Sequence[str], kind: type[msgspec.Struct]) -> list[str]:
    """The path of a value that its type refuses, with the key of the table in place of ``*``."""
    before = list(path[: path.index("*")]) if "*" in path else []
    if not before or not is_table_of_text(type_at(kind, before)):
        return list(path)
    entry_type = type_at(kind, [*before, "any key"])
    for key, entry in section_at(values, before).items():
        try:
            msgspec.convert(entry, entry_type, strict=False)
        except msgspec.ValidationError:
            return [*before, key]
    return before
