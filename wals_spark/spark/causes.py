"""Why a table could not be read: the innermost cause that Java gives, and whether it lies in the input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException

from wals_spark.errors import InputError
from wals_spark.settings.tables import Table

# What befalls a cluster and not its input: a retry may help.
_TRANSIENT = (
    "ExecutorLostFailure", "Executor heartbeat timed out", "exited caused by one of the running tasks",
    "OutOfMemoryError", "No space left on device", "FetchFailed", "SparkContext was shut down",
    "Cannot call methods on a stopped SparkContext", "java.net.ConnectException", "java.net.SocketException",
    "java.net.SocketTimeoutException", "java.net.NoRouteToHostException", "Service Unavailable", "SlowDown",
)  # fmt: skip
_FILE = re.compile(r"(?:reading file|Could not read footer for file:?|in file|footer of file)[: ]+(\S+?)[.,]?(?:\s|$)")
_NO_COLON = "names in paths have no colon with Hadoop: rename it"


class Causes:
    """What Java says of an exception, outermost first."""

    def __init__(self, error: Exception) -> None:
        self.messages = [*_java_messages(error)] or [str(error)]

    @property
    def is_of_a_file(self) -> bool:
        """Whether a file could not be read, as Spark says."""
        return any("FAILED_READ_FILE" in message or "FileNotFound" in message for message in self.messages)

    @property
    def is_transient(self) -> bool:
        """Whether the cluster failed, and not what it was reading."""
        return any(sign in message for message in self.messages for sign in _TRANSIENT)

    def __str__(self) -> str:
        """The innermost message in one line, after the file that it is about."""
        said = [message for message in self.messages if message.strip()]
        innermost = _first_line(said[-1]) if said else "no reason is given"
        named = next((match[1] for message in said if (match := _FILE.search(message))), "")
        line = f"{named}: {innermost}" if named and named not in innermost else innermost
        if "Relative path in absolute URI" in line:
            return f"{line} ({_NO_COLON})"
        return line


@contextmanager
def unreadable_is_refused(settings: Table, section: str, *, writing: bool = False) -> Iterator[None]:
    """Raise InputError for what is wrong with the input; the loss of an executor meanwhile stays what it is.

    While ``writing``, only what Spark says of a file that it reads is the input's fault.
    """
    try:
        yield
    except (PySparkException, Py4JError) as error:
        causes = Causes(error)
        if causes.is_transient or (writing and not causes.is_of_a_file):
            raise
        hint = _hint(settings, section, str(causes))
        source = f"{settings.named(section)} (format {settings.format})"
        raise InputError(f"{source} cannot be read: {causes}{hint}") from error


def _hint(settings: Table, section: str, message: str) -> str:
    """What to do next, where the message does not say it."""
    if "PATH_NOT_FOUND" in message and any("," in path for path in settings.paths):
        return f'; several paths are a list: {section}.path = ["a", "b"]'
    if "TABLE_OR_VIEW_NOT_FOUND" in message:
        return "; a table of Hive needs its metastore: --conf spark.sql.catalogImplementation=hive, and hive-site.xml"
    if _NO_COLON not in message and any(":" in re.sub(r"^[A-Za-z0-9+.-]+:(//[^/]*)?", "", p) for p in settings.paths):
        return f" ({_NO_COLON})"
    return ""


def _java_messages(error: Exception) -> Iterator[str]:
    throwable: Any = error.java_exception if isinstance(error, Py4JJavaError) else getattr(error, "_origin", None)
    seen = 0
    while throwable is not None and seen < 20:
        kind, message = throwable.getClass().getSimpleName(), throwable.getMessage()
        if kind != "ClassNotFoundException":  # what wraps it says which data source or file system is missing
            yield f"there is no host {message}" if kind == "UnknownHostException" else str(message or kind)
        throwable, seen = throwable.getCause(), seen + 1


def _first_line(message: str) -> str:
    """The first line, without what Spark adds for a search engine and without the name of Java's class."""
    line = message.strip().splitlines()[0]
    line = re.sub(r"\s*SQLSTATE: \w+", "", line)
    return re.sub(r"^(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error): ", "", line)
