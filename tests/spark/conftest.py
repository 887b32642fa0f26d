from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from wals_spark.spark.session import open_session


@pytest.fixture(scope="session")
def local_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Spark puts its own files: shuffles, broadcasts, blocks that do not fit into memory."""
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="session")
def _session(local_dir: Path) -> Iterator[SparkSession]:
    os.environ["SPARK_LOCAL_DIRS"] = str(local_dir)
    with open_session("wals_spark tests", local_master="local[2]") as spark:
        spark.conf.set("spark.sql.shuffle.partitions", "2")
        yield spark


@pytest.fixture
def spark(_session: SparkSession) -> Iterator[SparkSession]:
    """The session of all tests, given back without anything cached."""
    yield _session
    _session.catalog.clearCache()
    for rdd in list(_session.sparkContext._jsc.getPersistentRDDs().values()):
        rdd.unpersist()
