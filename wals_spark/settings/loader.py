"""Settings of a job: from a TOML file and the command line into frozen sections, each field checked, then all."""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together; each field is annotated with its meaning and limits (`msgspec.Meta`)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a job: its fields are sections."""

    @classmethod
    def completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What is given, with whatever it implies."""
        return given

    def check_together(self, given: dict[str, Any]) -> None:
        """Refuse what each setting allows and their combination, as ``given``, does not."""

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and values, for a manifest."""
        return cast("dict[str, Any]", msgspec.to_builtins(self))


SomeSettings = TypeVar("SomeSettings", bound=Settings)


def load_settings(kind: type[SomeSettings], path: str | Path | None, overrides: Sequence[str] = ()) -> SomeSettings:
    """Read settings from a TOML file, then apply ``section.key=value`` overrides in order.

    Raises
    ------
    ConfigError
        With the file and the key at fault, and what would be accepted.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        _apply(values, override)
    values = kind.completed(values)
    settings = checked(kind, values, path)
    settings.check_together(values)
    return settings


def checked(kind: type[SomeSettings], values: dict[str, Any], path: str | Path | None = None) -> SomeSettings:
    """Settings from plain values, each field checked; ``path`` is what messages name as their source.

    Raises
    ------
    ConfigError
        As `load_settings`.
    """
    try:
        settings = msgspec.convert(values, kind, strict=False)  # not strict: an override is text
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(error, kind, path)) from error
    for name, section in settings.as_dict().items():
        for key, value in section.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{name}.{key} = {value}: a finite number is needed")
    return settings


def describe_settings(kind: type[Settings]) -> str:
    """One line for each setting, `section.key = default` and its meaning, for ``--help``."""
    lines = []
    for section in msgspec.structs.fields(kind):
        lines.append(f"[{section.name}] {(section.type.__doc__ or '').strip()}")
        for info in msgspec.structs.fields(section.type):
            meta = next(m for m in info.type.__metadata__ if isinstance(m, Meta))
            if info.default is not msgspec.NODEFAULT:
                default = info.default
            else:
                default = info.default_factory() if info.default_factory is not msgspec.NODEFAULT else ""
            lines.append(f"  {section.name}.{info.name} = {_as_toml(default)}")
            lines.append(f"      {meta.description}")
    return "\n".join(lines)


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2 or not all(path):
        raise ConfigError(f"--set takes section.key=value, not {override!r}")
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {name} is a setting, not a section")
    values[path[-1]] = value.strip()


def _explained(error: msgspec.ValidationError, kind: type[Settings], path: str | Path | None) -> str:
    """Msgspec's message in the words of this file's keys, with the nearest known key."""
    found = re.match(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", str(error), re.DOTALL)
    what, where = (found["what"], found["where"] or "") if found else (str(error), "")
    source = f"configuration {path}" if path is not None else "configuration"
    unknown = re.search(r"unknown field `(.*)`", what)
    if unknown:
        section = next((f.type for f in msgspec.structs.fields(kind) if f.name == where), kind)
        known = [f.name for f in msgspec.structs.fields(section)]
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{source}: unknown setting {where + '.' if where else ''}{unknown[1]}; {hint}"
    if what.startswith("Invalid enum value"):
        section_name, _, key = where.partition(".")
        section = next(f.type for f in msgspec.structs.fields(kind) if f.name == section_name)
        literal = get_args(next(f.type for f in msgspec.structs.fields(section) if f.name == key))[0]
        what += f"; one of {', '.join(get_args(literal))}"
    return f"{source}: {where or 'top level'}: {what[:1].lower()}{what[1:]}"
