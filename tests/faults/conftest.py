from __future__ import annotations

import pytest
from killed_runs import Job, write_plays


@pytest.fixture(scope="session")
def plays(tmp_path_factory):
    """The interactions that all jobs here train on."""
    return write_plays(tmp_path_factory.mktemp("plays") / "plays.parquet")


@pytest.fixture(scope="session")
def served(tmp_path_factory, plays):
    """A root with the served version ``before``, which other tests copy, and its job."""
    job = Job(tmp_path_factory.mktemp("served"), plays)
    ended = job.run("run.id=before", "train.seed=9")
    assert ended.returncode == 0, ended.log
    return job


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, plays):
    """A job whose run ``a`` nothing has disturbed."""
    job = Job(tmp_path_factory.mktemp("undisturbed"), plays)
    ended = job.run("run.id=a")
    assert ended.returncode == 0, ended.log
    return job
