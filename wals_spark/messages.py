"""What errors, logs and files may show: one line, names in quotes, no control characters, no secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

HIDDEN = "(hidden)"

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9]+:)*//[^\s'\"<>)\]}]*")
_USER_INFO = re.compile(r"(//)[^/\s]*@")
_QUERY = re.compile(r"[?;].*$", re.DOTALL)  # of JDBC, too: jdbc:sqlserver://host;password=...
_LEAST_SECRET = 4  # letters: replacing all of "a" in a message would hide the message

_secrets: set[str] = set()


def keep_secret(values: Iterable[str]) -> None:
    """Never show these values from now on, whatever text they turn up in: `redacted`."""
    _secrets.update(value for value in values if len(value) >= _LEAST_SECRET)


def redacted(text: str) -> str:
    """The text without secret values, and without the user info and the query of URLs."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _URL.sub(lambda url: _without_credentials(url[0]), text)


def printable(text: str) -> str:
    """The text in one line; what a terminal would obey or hide is written as an escape."""
    return text if text.isprintable() else "".join(a if a.isprintable() else _escape(a) for a in text)


def quoted(value: object) -> str:
    """A name or a value from outside, in quotes, so that blanks show; `printable`."""
    text = printable(str(value))
    mark = '"' if "'" in text and '"' not in text else "'"
    return f"{mark}{text}{mark}"


def listed(names: Iterable[object], *, most: int = 20) -> str:
    """The first ``most`` of some names from outside, `quoted`, with commas."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(map(quoted, every[:most])) + more


def _without_credentials(url: str) -> str:
    return _QUERY.sub(lambda query: query[0][0] + HIDDEN, _USER_INFO.sub(r"\1", url))


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")


def _may_be_shown(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(redacted(record.getMessage())), ()
    return True


# A filter of the logger, not of a job's handler: a notebook's log is as public.
logging.getLogger("wals_spark").addFilter(_may_be_shown)
