from __future__ import annotations

from functools import partial

import pytest
import run_jobs


@pytest.fixture
def run_job(tmp_path):
    """Run a job's file in a folder of its own; return its exit code and what it printed."""
    return partial(run_jobs.run_job, tmp_path)


@pytest.fixture
def run_train(run_job):
    """Run jobs/train.py."""
    return partial(run_job, "train")
