"""What ``--help`` says of a job's settings: each with its default, its meaning and its choices."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import get_args

import msgspec
from msgspec import Meta

from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.values import choices_of, to_text


def describe_settings(kind: type[Settings], width: int | None = None) -> str:
    """Per setting: ``section.key = default``, as ``--set`` and TOML take it, and its meaning, in lines of ``width``."""
    lines = []
    for name, section in _sections(kind()):
        lines += _wrapped(f"[{name}] {(type(section).__doc__ or '').strip()}", width, indent="")
        for field in msgspec.structs.fields(type(section)):
            value, setting = getattr(section, field.name), f"{name}.{field.encode_name}"
            if setting not in kind.unused and not isinstance(value, Section):
                lines.append(f"  {setting} = {to_text(value)}")
                lines += _wrapped(_meaning(field), width, indent="      ")
    return "\n".join(lines)


def _sections(settings: Settings | Section, prefix: str = "") -> Iterator[tuple[str, Section]]:
    """The sections by their names, each before those within it."""
    for field in msgspec.structs.fields(type(settings)):
        section = getattr(settings, field.name)
        if isinstance(section, Section):
            yield f"{prefix}{field.name}", section
            yield from _sections(section, f"{prefix}{field.name}.")


def _meaning(field: msgspec.structs.FieldInfo) -> str:
    descriptions = [meta.description for meta in get_args(field.type) if isinstance(meta, Meta) and meta.description]
    choices = choices_of(field.type)
    if not choices:
        return " ".join(descriptions)
    names = ", ".join(choice or '""' for choice in choices)
    return " ".join([*descriptions, f"One of {names}."])


def _wrapped(text: str, width: int | None, *, indent: str) -> list[str]:
    if width is None:
        return [indent + text]
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
