"""Split interactions into train and test. Runs under spark-submit and under plain python."""

from __future__ import annotations

import logging

from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.split import SplitSettings
from wals_spark.spark import checking as ratings
from wals_spark.spark import split as splitting
from wals_spark.spark.session import open_session

logger = logging.getLogger("wals_spark")


def main() -> None:
    """Split as the command line says."""
    settings = parse_settings(SplitSettings, "Split interactions into parts to train on and to test with.")
    with open_session("wals_spark split") as spark:
        raw = ratings.read(spark, settings.input)
        # Any finite rating will do: which of them are bad is for training to say.
        checked = ratings.check(raw, settings.input, implicit=False, timed=bool(settings.input.timestamp))
        logger.info("read %s rows of %s", f"{checked.rows:,}", settings.input.path)
        path = settings.output.path
        for part in splitting.write_parts(spark, splitting.split(checked.table, settings.split), path):
            logger.info("%s/%s: %s rows of %s users", path, part.name, f"{part.rows:,}", f"{part.users:,}")
        logger.info("columns have the names that jobs/train.py expects: input.path=%s/train is all it needs", path)


if __name__ == "__main__":
    run(main)
