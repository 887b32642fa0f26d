"""Jobs run from their files as their command lines would, in this process."""

from __future__ import annotations

import io
import logging
import os
import runpy
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pyspark import SparkContext

JOBS = Path(__file__).resolve().parents[1] / "jobs"


def run_job(folder: Path, job: str, *settings: str, config: str = "") -> CompletedProcess:
    """Run a job's file in a folder; return its exit code and what it printed.

    In this process, so that its JVM, which takes half a minute to warm up, serves all jobs. The lane ``cluster`` and
    the tests that kill jobs start them as users do.
    """
    file = [f"--config={config}"] if config else []
    command = [str(JOBS / f"{job}.py"), *file, *(f"--set={setting}" for setting in settings)]
    code, out, err = 0, io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        patch.setattr(logging.getLogger(), "handlers", [])  # a process's first basicConfig wins; pytest has been there
        patch.chdir(folder)
        enter_folder_in_jvm(folder)
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
        except Exception:
            traceback.print_exc()
            code = 1
    return CompletedProcess(command, code, out.getvalue(), err.getvalue())


def enter_folder_in_jvm(folder: Path) -> None:
    """A JVM that an earlier session left resolves relative paths where it was started, until it is told otherwise."""
    if SparkContext._gateway is not None:
        SparkContext._gateway.jvm.java.lang.System.setProperty("user.dir", str(folder))
        SparkContext._gateway.jvm.org.apache.hadoop.fs.FileSystem.closeAll()


def environment_without_java() -> dict[str, str]:
    """This process's environment, with no Java in it: whatever starts Spark there fails."""
    return {**os.environ, "JAVA_HOME": "/nowhere", "PATH": "/nowhere"}
