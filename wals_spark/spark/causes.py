"""Why Java failed: the innermost cause, and whether a retry may help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException

from wals_spark.errors import ConfigError

# What befalls a cluster and not its input: a retry may help.
_TRANSIENT = (
    "ExecutorLostFailure", "Executor heartbeat timed out", "exited caused by one of the running tasks",
    "OutOfMemoryError", "No space left on device", "FetchFailed", "SparkContext was shut down",
    "Cannot call methods on a stopped SparkContext", "java.net.ConnectException", "java.net.SocketException",
    "java.net.SocketTimeoutException", "java.net.NoRouteToHostException", "Service Unavailable", "SlowDown",
    "SPARK_JOB_CANCELLED", "cancelled job tag",
)  # fmt: skip
_FILE = re.compile(r"(?:reading file|Could not read footer for file:?|in file|footer of file)[: ]+(\S+?)[.,]?(?:\s|$)")
JAVA_ERRORS = (PySparkException, Py4JError)
"""What a call into Java raises."""

STORAGE_ERRORS = (*JAVA_ERRORS, OSError)
"""What an operation on storage raises: local files are written without Java."""

NO_COLON = "names in paths have no colon with Hadoop: rename it"


class Causes:
    """What Java says of an exception, outermost first."""

    def __init__(self, error: Exception) -> None:
        own = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.messages = [*_java_messages(error)] or [own]

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
            return f"{line} ({NO_COLON})"
        return line


def raise_as_refused(error: Exception, what: str) -> NoReturn:
    """Say that storage refuses ``what``; a cluster or a disk that fails, where a retry may help, is raised as it is.

    Raises
    ------
    ConfigError
        With what Java or the operating system says.
    """
    raise ConfigError(f"{what}: {lasting_causes(error)}") from error


def lasting_causes(error: Exception) -> Causes:
    """Why something fails each time; an error of the cluster or of a disk, where a retry may help, is raised again."""
    causes = Causes(error)
    if causes.is_transient:
        raise error
    return causes


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
