from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_job(tmp_path):
    """Start a job as a user does, in a folder of its own; give what it printed and its exit code."""

    def run(
        job: str, *settings: str, launcher: tuple[str, ...] = (sys.executable,), **options
    ) -> subprocess.CompletedProcess:
        command = [*launcher, str(ROOT / f"jobs/{job}.py"), *(f"--set={setting}" for setting in settings)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False, **options
        )

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return run


@pytest.fixture
def run_train(run_job):
    """Start jobs/train.py."""
    return partial(run_job, "train")
