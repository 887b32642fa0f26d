"""Runs jobs in turn under one spark-submit, so that one driver's JVM serves them all; executors are new for each job.

Given: a JSON file with a list of [name, job's file, setting, ...]. It leaves the output of each in NAME.log, and writes
``codes.json``: the exit code of each, and under "executors" what their Python is and can import.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import runpy
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from wals_spark.spark.session import open_session


def run_job(name: str, file: str, settings: list[str]) -> int:
    """Run a job as its command line would, and return its exit code."""
    sys.argv = [file, *(f"--set={setting}" for setting in settings)]
    logging.getLogger().handlers = []  # each job's first log line sets them up again
    with Path(f"{name}.log").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            runpy.run_path(file, run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def look_at_executors(modules: list[str]) -> list:
    """The folder of each executor's Python, and which of the modules it has."""
    with open_session("executors") as spark:

        def look(_: object) -> tuple[str, tuple[str, ...]]:
            return sys.prefix, tuple(module for module in modules if importlib.util.find_spec(module))

        return spark.sparkContext.parallelize(range(8), 8).map(look).distinct().collect()


def main(file: str, modules: list[str]) -> None:
    """Run the jobs that the file lists."""
    codes = Path("codes.json")
    outcomes: dict[str, object] = json.loads(codes.read_text()) if codes.exists() else {}  # of jobs that ran before
    outcomes["executors"] = look_at_executors(modules)
    for name, job, *settings in json.loads(Path(file).read_text()):
        outcomes[name] = run_job(name, job, settings)
    codes.write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
