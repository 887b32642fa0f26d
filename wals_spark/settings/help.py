"""What ``--help`` says of a job's settings: each with its default, its meaning and its choices."""

from __future__ import annotations

import textwrap
from typing import get_args

import msgspec
from msgspec import Meta

from wals_spark.settings.loader import Settings
from wals_spark.settings.values import choices_of, to_text


def describe_settings(kind: type[Settings], width: int | None = None) -> str:
    """Per setting: ``section.key = default``, as ``--set`` and TOML take it, and its meaning, in lines of ``width``."""
    lines = []
    settings = kind()
    for section in msgspec.structs.fields(kind):
        defaults = getattr(settings, section.name)
        lines += _wrapped(f"[{section.name}] {(section.type.__doc__ or '').strip()}", width, indent="")
        for field in msgspec.structs.fields(section.type):
            name = f"{section.name}.{field.name}"
            if name not in kind.unused:
                lines.append(f"  {name} = {to_text(getattr(defaults, field.name))}")
                lines += _wrapped(_meaning(field), width, indent="      ")
    return "\n".join(lines)


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
