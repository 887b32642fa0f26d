"""What every job shares on the command line: settings as arguments, log lines and an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from wals_spark.errors import EXIT_CODES, WalsError
from wals_spark.settings.help import describe_settings
from wals_spark.settings.loader import SomeSettings, load_settings

logger = logging.getLogger("wals_spark")

_HOW_TO_SET = """\
settings, with their defaults: each can be set in the TOML file of --config, as

    [train]
    rank = 32

or on the command line, where it wins over the file, as

    --set train.rank=32 --set input.options.header=true --set 'evaluate.k=[5, 10]'

"none" takes back a setting that a file or a preset gives and whose default is none."""


def parse_settings(kind: type[SomeSettings], description: str, arguments: Sequence[str] | None = None) -> SomeSettings:
    """Read ``--config FILE`` and ``--set section.key=value`` from the command line."""
    parser = argparse.ArgumentParser(
        description=f"{description} Runs with plain python, and on a cluster with spark-submit.",
        epilog=f"{_HOW_TO_SET}\n\n{describe_settings(kind)}\n\n{EXIT_CODES}",
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
    options = parser.parse_args(arguments)
    return load_settings(kind, options.config, options.set)


def run(job: Callable[[], None]) -> None:
    """Run a job and exit: a `WalsError` is one line and its exit code, anything else a traceback and 1."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logger.setLevel(logging.INFO)
    try:
        job()
    except WalsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
