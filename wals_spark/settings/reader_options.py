"""Options of Spark's readers: which values may be shown, and where a value that must not be written down comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from wals_spark.errors import ConfigError
from wals_spark.messages import HIDDEN, keep_secret, quoted

# Names of options whose values say how a file is laid out. An option that is not here may be a password by any name:
# url, sas, api_key, pem_private_key, ...; its value is shown nowhere. Spark takes these names in any case.
_SHOWN = frozenset(
    name.lower()
    for name in (
        "allowBackslashEscapingAnyCharacter", "allowComments", "allowNonNumericNumbers", "allowNumericLeadingZeros",
        "allowSingleQuotes", "allowUnquotedControlChars", "allowUnquotedFieldNames", "attributePrefix", "avroSchema",
        "basePath", "charset", "charToEscapeQuoteEscaping", "columnNameOfCorruptRecord", "comment", "compression",
        "dateFormat", "datetimeRebaseMode", "delimiter", "dropFieldIfAllNull", "emptyValue",
        "enableDateTimeParsingFallback", "encoding", "enforceSchema", "escape", "excludeAttribute", "fetchsize",
        "header", "ignoreCorruptFiles", "ignoreLeadingWhiteSpace", "ignoreMissingFiles", "ignoreNamespace",
        "ignoreSurroundingSpaces", "ignoreTrailingWhiteSpace", "inferSchema", "int96RebaseMode", "lineSep", "locale",
        "lowerBound", "maxCharsPerColumn", "maxColumns", "mergeSchema", "mode", "modifiedAfter", "modifiedBefore",
        "multiLine", "nanValue", "negativeInf", "nullValue", "numPartitions", "partitionColumn", "pathGlobFilter",
        "positiveInf", "preferDate", "prefersDecimal", "primitivesAsString", "quote", "recursiveFileLookup", "rowTag",
        "samplingRatio", "sep", "singleVariantColumn", "snapshot-id", "timestampAsOf", "timestampFormat",
        "timestampNTZFormat", "timeZone", "unescapedQuoteHandling", "upperBound", "valueTag", "versionAsOf",
        "wholetext",
    )
)  # fmt: skip
_FROM_ENVIRONMENT, _FROM_FILE = "env:", "file:"


def shown_options(options: Mapping[str, str]) -> dict[str, str]:
    """Options as a manifest, a report or a log shows them: ``(hidden)`` for each value that might be a secret."""
    return {name: value if _is_shown(name, value) else HIDDEN for name, value in options.items()}


def keep_hidden(options: Mapping[str, str]) -> None:
    """Let no text show the values of these options that might be secrets, wherever else they turn up."""
    keep_secret(value for name, value in options.items() if not _is_shown(name, value))


def resolved_options(options: Mapping[str, str], setting: str) -> dict[str, str]:
    """Options as Spark takes them: for ``env:NAME`` the variable's value, for ``file:PATH`` what the file holds.

    A line break at the end of the file is left out; ``setting`` names the options in messages.

    Raises
    ------
    ConfigError
        If there is no such variable, or the file cannot be read.
    """
    return {name: _resolved(value, f"{setting}.{name}") for name, value in options.items()}


def _is_shown(name: str, value: str) -> bool:
    return name.lower() in _SHOWN or value.startswith((_FROM_ENVIRONMENT, _FROM_FILE))


def _resolved(value: str, setting: str) -> str:
    if value.startswith(_FROM_ENVIRONMENT):
        name = value.removeprefix(_FROM_ENVIRONMENT)
        if name not in os.environ:
            raise ConfigError(f"{setting} = {quoted(value)}: there is no environment variable {quoted(name)}")
        found = os.environ[name]
    elif value.startswith(_FROM_FILE):
        path = value.removeprefix(_FROM_FILE)
        try:
            found = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"{setting} = {quoted(value)}: the file {quoted(path)} cannot be read: {reason}"
            ) from error
    else:
        return value
    keep_secret([found])
    return found
