"""Settings of a job: from a TOML file, the command line or Python into frozen sections, each field checked, then all.

A setting is written ``section.key``. Values pass through four steps: old names become new ones, a preset (or another
section) fills in what it implies, each value is checked by its type and limits, and then all of them together.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import msgspec

from wals_spark.errors import ConfigError
from wals_spark.messages import quoted, redacted
from wals_spark.settings.reader_options import keep_hidden, shown_options
from wals_spark.settings.refused import explained
from wals_spark.settings.values import conform, from_text, is_table_of_text, section_at, type_at

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logger = logging.getLogger("wals_spark")

SomeSettings = TypeVar("SomeSettings", bound="Settings")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together; each field is annotated with its meaning and limits (`msgspec.Meta`)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(msgspec.to_builtins(self))})"


class Flag(NamedTuple):
    """An option of the command line that stands for ``--set setting=``.

    ``takes`` names its value, None if it takes none; ``bare`` is its value where none is given, None if one must be.
    """

    setting: str
    takes: str | None = None
    bare: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a job: its fields are sections.

    Attributes
    ----------
    renamed : mapping of str to str
        Old names of settings and sections, which still work, and the new ones.
    unused : mapping of str to str
        Settings that a section has and this job refuses, each with the reason.
    flags : mapping of str to Flag
        Settings that have an option of their own on the command line.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    unused: ClassVar[Mapping[str, str]] = {}
    flags: ClassVar[Mapping[str, Flag]] = {}

    @classmethod
    def of(cls: type[SomeSettings], values: Mapping[str, Any] | None = None) -> SomeSettings:
        """Settings from Python: ``{"train.rank": 32}``, or ``{"train": {"rank": 32}}``.

        They are checked as those of a file are, except that no path is required: a notebook has DataFrames.

        Raises
        ------
        ConfigError
            With the setting at fault, and what would be accepted.
        """
        nested: dict[str, Any] = {}
        for name, value in (values or {}).items():
            _put(nested, name.split("."), value)
        return _settings(cls, nested)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values, nested by section, and those that they imply."""
        return values

    def check_together(self, set_values: dict[str, Any]) -> None:
        """Refuse values that are valid one by one and not together; ``set_values`` are those that were set."""

    def require_paths(self) -> None:
        """Refuse settings that do not say where a job reads and writes."""

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and values."""
        return cast("dict[str, Any]", msgspec.to_builtins(self))

    def value_of(self, setting: str) -> Any:
        """The value of a setting by its full name, ``section.key``."""
        section, _, key = setting.partition(".")
        return getattr(getattr(self, section), key)

    def shown(self) -> dict[str, Any]:
        """The same as files may have them: without values of reader options, and parts of URLs, that may be secrets."""
        return cast("dict[str, Any]", _shown(self.as_dict()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown()})"


def load_settings(kind: type[SomeSettings], path: str | Path | None, overrides: Sequence[str] = ()) -> SomeSettings:
    """Read a job's settings from a TOML file, then apply ``section.key=value`` overrides in order.

    Raises
    ------
    ConfigError
        With the file and the setting at fault, and what would be accepted.
    """
    values = _read_toml(Path(path)) if path is not None else {}
    for override in overrides:
        _apply(kind, values, override)
    settings = _settings(kind, values, path)
    settings.require_paths()
    return settings


def checked(kind: type[SomeSettings], values: Mapping[str, Any], source: str | Path | None = None) -> SomeSettings:
    """Settings from plain values by their present names, each value checked; messages name ``source``.

    Raises
    ------
    ConfigError
        As `load_settings`.
    """
    conformed = conform(values, kind)
    try:
        settings = msgspec.convert(conformed, kind, strict=False)  # not strict: an override is text
    except msgspec.ValidationError as error:
        raise ConfigError(explained(error, kind, conformed, source)) from error
    _refuse_unusable(settings.as_dict(), ())
    return settings


def with_new_names(values: dict[str, Any], renamed: Mapping[str, str], *, warn: bool = True) -> dict[str, Any]:
    """Nested values with each old name replaced by the new one; ``warn`` logs a warning per old name.

    Raises
    ------
    ConfigError
        If a setting is there under both names.
    """
    for old, new in renamed.items():
        *sections, key = old.split(".")
        section = section_at(values, sections)
        if key not in section:
            continue
        *new_sections, new_key = new.split(".")
        if new_key in section_at(values, new_sections):
            raise ConfigError(f"{old} is now called {new}, and both are given: keep {new}")
        if warn:
            logger.warning("%s is now called %s: the old name works in this release and not in the next", old, new)
        values = _without(values, sections, key)
        _put(values, new.split("."), section[key])
    return values


def _settings(kind: type[SomeSettings], values: dict[str, Any], source: str | Path | None = None) -> SomeSettings:
    values = with_new_names(values, kind.renamed)
    for name, reason in kind.unused.items():
        *sections, key = name.split(".")
        if key in section_at(values, sections):
            raise ConfigError(f"{name}: {reason}")
    values = kind.completed(values)
    for table in _tables_of_options(values):
        keep_hidden(table)
    settings = checked(kind, values, source)
    settings.check_together(values)
    return settings


def _tables_of_options(values: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The reader options in nested values that are not yet checked: what a message about them may not show."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            if key == "options":
                yield {str(name): entry for name, entry in value.items() if isinstance(entry, str)}
            else:
                yield from _tables_of_options(value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {quoted(path)}: {error.strerror}") from error
    except RecursionError as error:
        raise ConfigError(f"{quoted(path)} is nested too deeply: settings are sections of keys and values") from error
    except ValueError as error:  # no TOML, no UTF-8, or a path with NUL in it
        raise ConfigError(f"{quoted(path)} is not valid TOML: {error}") from error


def _apply(kind: type[Settings], values: dict[str, Any], override: str) -> None:
    """Set in ``values`` what an override such as ``section.key=value`` says."""
    name, equals, text = override.partition("=")
    path = _whole_key(kind, name.strip().split("."))
    if not equals or len(path) < 2 or not all(path):
        raise ConfigError(f"--set takes section.key=value, not {quoted(override)}")
    if name.endswith(" "):
        text = text.strip()  # "key = value", as in a file; in "key= value" the blank is part of the value
    value = from_text(text, type_at(kind, _present_path(kind, path)), name.strip())
    _put(values, path, value)


def _whole_key(kind: type[Settings], path: list[str]) -> list[str]:
    """The path with the key of a table in one piece: keys of reader options have dots."""
    for end in range(1, len(path)):
        if is_table_of_text(type_at(kind, _present_path(kind, path[:end]))):
            return [*path[:end], ".".join(path[end:])]
    return path


def _present_path(kind: type[Settings], path: list[str]) -> list[str]:
    """The path of a setting by its present name."""
    for old, new in kind.renamed.items():
        parts = old.split(".")
        if path[: len(parts)] == parts:
            return [*new.split("."), *path[len(parts) :]]
    return path


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a nested value; a whole section is merged with what is there of it."""
    *sections, key = path
    for name in sections:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{'.'.join(path)}: {name} is a setting, not a section")
    before = values.get(key)
    if not sections and isinstance(value, Mapping):
        value = {**before, **value} if isinstance(before, dict) else dict(value)
    values[key] = value


def _without(values: Mapping[str, Any], sections: Sequence[str], key: str) -> dict[str, Any]:
    """A copy of nested values without one of them; the sections on the way are copies too."""
    if not sections:
        return {name: value for name, value in values.items() if name != key}
    return {**values, sections[0]: _without(values[sections[0]], sections[1:], key)}


def _refuse_unusable(values: object, path: tuple[str, ...]) -> None:
    """Refuse numbers that are not finite, and NUL in text: no path, column or name of Spark's has it."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key not in ("options", "space"):  # a separator may be NUL; the search space has checks of its own
                _refuse_unusable(value, (*path, key))
    elif isinstance(values, float) and not math.isfinite(values):
        raise ConfigError(f"{'.'.join(path)} = {values}: a finite number is needed")
    elif isinstance(values, str) and "\0" in values:
        raise ConfigError(f"{'.'.join(path)} = {quoted(values)}: text without the character NUL is needed")


def _shown(values: Any) -> Any:
    """Nested values of settings without what may be a secret."""
    if isinstance(values, Mapping):
        return {
            key: shown_options(value) if key == "options" and isinstance(value, Mapping) else _shown(value)
            for key, value in values.items()
        }
    if isinstance(values, list | tuple):
        return [_shown(value) for value in values]
    return redacted(values) if isinstance(values, str) else values
