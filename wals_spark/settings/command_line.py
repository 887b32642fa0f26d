"""What every job shares on the command line: settings in, log lines and an exit code out."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from wals_spark.errors import WalsError
from wals_spark.settings.loader import SomeSettings, describe_settings, load_settings

logger = logging.getLogger("wals_spark")

EXIT_CODES = "exit codes: 0 done, 1 unexpected (a retry may help), 2 configuration refused, 3 input refused"


def parse_settings(kind: type[SomeSettings], description: str, arguments: Sequence[str] | None = None) -> SomeSettings:
    """Read ``--config FILE`` and ``--set section.key=value`` from the command line."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"settings and their defaults:\n\n{describe_settings(kind)}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="settings in TOML")
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="change one setting; may be repeated, and wins over the file",
    )
    given = parser.parse_args(arguments)
    return load_settings(kind, given.config, given.set)


def run(job: Callable[[], None]) -> None:
    """Run a job and exit: a `WalsError` is one line and its code, anything else a traceback and 1."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logger.setLevel(logging.INFO)
    try:
        job()
    except WalsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
