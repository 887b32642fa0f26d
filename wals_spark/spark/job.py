"""A job: settings from the command line, a Spark session, and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable

from pyspark.sql import SparkSession

from wals_spark.errors import WalsError
from wals_spark.messages import printable, redacted
from wals_spark.settings.command_line import parse_settings
from wals_spark.settings.loader import SomeSettings
from wals_spark.settings.tables import names_catalog_tables
from wals_spark.spark.session import open_session
from wals_spark.spark.stopping import ended_by_sigterm, stoppable

logger = logging.getLogger("wals_spark")


def run_job(
    name: str,
    kind: type[SomeSettings],
    description: str,
    job: Callable[[SparkSession, SomeSettings], None],
    *,
    before: Callable[[SomeSettings], None] = lambda _: None,
) -> None:
    """Run a job with settings of this kind, and exit: a `WalsError` is one line and its exit code, else 1.

    ``before`` is called with the settings before Spark starts, to refuse what cannot end well.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logger.setLevel(logging.INFO)

    def run() -> None:
        settings = parse_settings(kind, description)
        before(settings)
        with (
            open_session(f"wals_spark {name}", hive=names_catalog_tables(settings)) as spark,
            ended_by_sigterm(spark),
            stoppable(spark),
        ):
            job(spark, settings)

    sys.exit(exit_code_of(run))


def exit_code_of(run: Callable[[], None]) -> int:
    """Run it, and return the exit code: 0, that of a `WalsError`, which is printed as one line, or 1."""
    try:
        run()
    except WalsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # a traceback's last line has the message of the exception, and with it a secret
        text = "".join(traceback.format_exception(error))
        print("\n".join(printable(line) for line in redacted(text).splitlines()), file=sys.stderr)
        return WalsError.exit_code
    return 0
