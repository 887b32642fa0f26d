from __future__ import annotations

import io
import logging
import runpy
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pyspark import SparkContext

JOBS = Path(__file__).resolve().parents[2] / "jobs"


@pytest.fixture
def run_job(tmp_path, monkeypatch):
    """Run a job's file in a folder of its own; give what it printed and its exit code.

    In this process, so that its JVM, which takes half a minute to warm up, serves all jobs. The lanes ``data`` and
    ``cluster`` and the tests that kill jobs start them as users do.
    """

    def run(job: str, *settings: str, config: str = "") -> CompletedProcess:
        file = [f"--config={config}"] if config else []
        command = [str(JOBS / f"{job}.py"), *file, *(f"--set={setting}" for setting in settings)]
        monkeypatch.setattr(sys, "argv", command)
        # A process's first basicConfig wins, and pytest has been there.
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        code, out, err = 0, io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(command[0], run_name="__main__")
            except SystemExit as end:
                code = end.code
            except Exception:
                traceback.print_exc()
                code = 1
        return CompletedProcess(command, code, out.getvalue(), err.getvalue())

    monkeypatch.chdir(tmp_path)
    enter_folder_in_jvm(tmp_path)
    return run


def enter_folder_in_jvm(folder: Path) -> None:
    """A JVM that a session before left finds relative paths where it was started, until it is told otherwise."""
    if SparkContext._gateway is not None:
        SparkContext._gateway.jvm.java.lang.System.setProperty("user.dir", str(folder))
        SparkContext._gateway.jvm.org.apache.hadoop.fs.FileSystem.closeAll()


@pytest.fixture
def run_train(run_job):
    """Run jobs/train.py."""
    return partial(run_job, "train")
