from __future__ import annotations

from functools import partial

import pytest


@pytest.fixture
def run_train(run_job):
    """Run jobs/train.py."""
    return partial(run_job, "train")
