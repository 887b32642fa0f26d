from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a test machine may be busy. Derandomized: a failure on one machine is a failure on every one.
settings.register_profile("wals", deadline=None, derandomize=True)
settings.load_profile("wals")


@pytest.fixture(scope="session", autouse=True)
def local_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Spark puts its own files: shuffles, broadcasts, blocks.

    For all lanes, because sessions that follow each other share one JVM, and it reads its environment once.
    """
    folder = tmp_path_factory.mktemp("spark")
    os.environ["SPARK_LOCAL_DIRS"] = str(folder)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # A test's JVM does not live long enough for its second compiler, which takes the cores from the tests. The first
    # one's frames are larger, and the lineage of MLlib's ALS is deep.
    os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss16m")
    return folder
