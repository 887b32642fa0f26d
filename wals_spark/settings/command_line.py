"""The command line of a job: its settings as arguments, and its help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from wals_spark.errors import EXIT_CODES
from wals_spark.settings.help import describe_settings
from wals_spark.settings.loader import SomeSettings, load_settings

_WIDTH = 100
_HOW_TO_SET = """\
settings and their defaults; in the file of --config they are

    [section]
    key = value

and on the command line, which wins over the file, --set section.key=value. Values are written as below; on
the command line text needs no quotes and keeps its blanks. A list is [10, 20] in both, on the command line also 10,20,
and its names have quotes or not: 'k=["recall", "ndcg"]' is k=recall,ndcg. A file with a blank between columns and no
header is read by

    --set input.format=csv --set 'input.options.sep= ' --set input.user=_c0 --set input.item=_c1

A setting whose default is none can be set back to none (in the file: "none")."""


def parse_settings(kind: type[SomeSettings], description: str, arguments: Sequence[str] | None = None) -> SomeSettings:
    """Read ``--config FILE`` and ``--set section.key=value`` from the command line."""
    parser = argparse.ArgumentParser(
        description=f"{description}\n\nRuns with plain python, and on a cluster with spark-submit.",
        epilog=f"{_HOW_TO_SET}\n\n{describe_settings(kind, _WIDTH)}\n\n{EXIT_CODES}",
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
    for name, flag in kind.flags.items():
        words = f"the same as --set {flag.setting}={flag.takes or 'true'}"
        if flag.takes is None:
            override = f"{flag.setting}=true"
            parser.add_argument(name, action="append_const", dest="set", const=override, help=words)
        else:
            as_override = f"{flag.setting}={{}}".format
            parser.add_argument(
                name,
                metavar=flag.takes,
                nargs=None if flag.bare is None else "?",
                const=flag.bare,
                type=as_override,
                action="append",
                dest="set",
                help=words,
            )
    options = parser.parse_args(arguments)
    return load_settings(kind, options.config, options.set)
