"""Values of settings as text, which ``--help`` prints and ``--set`` reads; and how a setting's type reads a value."""

from __future__ import annotations

import functools
import json
import os
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import numpy as np

from wals_spark.errors import ConfigError
from wals_spark.messages import quoted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NONE = "none"
"""How an optional setting without a value is written, in TOML and on the command line."""


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The type of a setting without ``Annotated`` and ``| None``, and whether the setting may be None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation):
        others = [argument for argument in get_args(annotation) if argument is not type(None)]
        return (without_none(others[0])[0] if len(others) == 1 else annotation), True
    return annotation, False


def choices_of(annotation: Any) -> tuple[str, ...]:
    """The values that a setting of this type can have, if its type lists them."""
    inner, _ = without_none(annotation)
    return get_args(inner) if get_origin(inner) is Literal else ()


def number_type(annotation: Any) -> tuple[type | None, tuple[str, ...]]:
    """``int`` or ``float`` for a setting that is a number, and the words it may be instead, such as ``auto``."""
    inner, _ = without_none(annotation)
    members = get_args(inner) if get_origin(inner) in (Union, types.UnionType) else (inner,)
    plain = [without_none(member)[0] for member in members]
    words = tuple(word for member in plain for word in choices_of(member))
    return next((member for member in plain if member in (int, float)), None), words


def type_at(kind: Any, path: Sequence[str]) -> Any:
    """The type of the setting that ``path`` leads to from the type ``kind``; None if there is no such setting."""
    for name in path:
        kind, _ = without_none(kind)
        if _is_struct(kind):
            kind = _field_types(kind).get(name)
        else:
            kind = get_args(kind)[1] if get_origin(kind) is dict else None
    return kind


def section_at(values: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """The nested values at a path; empty where there are none."""
    for name in path:
        inner = values.get(name)
        values = inner if isinstance(inner, Mapping) else {}
    return values


def is_table_of_text(annotation: Any) -> bool:
    """Whether the setting is a table whose values are text: options of a reader, whose keys may have dots."""
    inner, _ = without_none(annotation)
    return get_origin(inner) is dict and get_args(inner)[1] is str


def to_text(value: object) -> str:
    """A value as TOML writes it, with ``none`` for None; `from_text` reads it."""
    if value is None:
        return NONE
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(to_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{to_text(key)} = {to_text(entry)}' for key, entry in value.items())}}}"
    return str(value)


def from_text(text: str, annotation: Any, setting: str) -> Any:
    """The value that ``--set setting=text`` means: quotes are taken off text, and a table is read as TOML.

    All else stays text, blanks at its ends included: `conform` and msgspec read numbers, lists and ``none``.

    Raises
    ------
    ConfigError
        If the setting is a table, and the text is not.
    """
    inner, _ = without_none(annotation)
    if get_origin(inner) is dict or _is_struct(inner):
        table = _toml(text)
        if not isinstance(table, dict):
            raise ConfigError(
                f"--set {quoted(setting)} takes a table such as {{header = true}}; or set {setting}.KEY=VALUE"
            )
        return table
    if _may_be_a_list(inner) and text.startswith("[") and isinstance(paths := _toml(text), list):
        return paths
    unquoted = _toml(text) if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else None
    return unquoted if isinstance(unquoted, str) else text


def conform(value: Any, annotation: Any) -> Any:
    """A value in the form that msgspec converts to a setting of this type.

    ``none`` is None where None is possible, text such as ``10, 20`` a list where a list is needed, a NumPy scalar the
    number that it is, and a path, or an option of a reader that is true or a number, the text of it. What does not fit
    the type stays as it is, for msgspec to refuse.
    """
    inner, optional = without_none(annotation)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and inner is not str and not _may_be_a_list(inner):
        value = value.strip()  # around a number or a list, blanks mean nothing
    if optional and isinstance(value, str) and value.lower() == NONE:
        return None
    if isinstance(value, Mapping):
        if get_origin(inner) is dict:
            entry_type = get_args(inner)[1]
            as_text = entry_type is str  # an option of a reader
            return {
                key: to_text(entry) if as_text and isinstance(entry, bool | int | float) else conform(entry, entry_type)
                for key, entry in value.items()
            }
        return {key: conform(entry, type_at(inner, [key])) for key, entry in value.items()}
    if get_origin(inner) is tuple and isinstance(value, str):
        return _as_list(value)
    if isinstance(value, os.PathLike) and (inner is str or _may_be_a_list(inner)):
        return os.fspath(value)
    return value


@functools.cache
def _field_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    fields = msgspec.structs.fields(struct)  # slow: it evaluates all annotations
    return {field.encode_name: field.type for field in fields}


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _may_be_a_list(annotation: Any) -> bool:
    """Whether the setting takes a list as well as text."""
    return any(get_origin(argument) is tuple for argument in get_args(annotation))


def _as_list(text: str) -> list[Any]:
    """The elements of ``[a, b]`` or of ``a, b``, as TOML or else as text."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    elements = _toml(f"[{bare}]")
    if isinstance(elements, list):
        return elements
    return [element.strip().strip("\"'") for element in bare.split(",") if element.strip()]


def _toml(text: str) -> Any:
    """The value that ``text`` is in TOML, or None."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
