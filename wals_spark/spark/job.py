"""A job: settings from the command line, a Spark session, and an exit code."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import SparkSession

from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.loader import SomeSettings
from wals_spark.spark.session import open_session


def run_job(
    name: str,
    kind: type[SomeSettings],
    description: str,
    job: Callable[[SparkSession, SomeSettings], None],
    *,
    before: Callable[[SomeSettings], None] = lambda _: None,
) -> None:
    """Run a job with settings of this kind, and exit.

    ``before`` is called with the settings before Spark starts, to refuse what cannot end well.
    """

    def main() -> None:
        settings = parse_settings(kind, description)
        before(settings)
        with open_session(f"wals_spark {name}") as spark:
            job(spark, settings)

    run(main)
