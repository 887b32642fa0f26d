from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from wals_spark.spark.session import open_session


@pytest.fixture(scope="module")
def _session() -> Iterator[SparkSession]:
    """One for a file, not for all: between two files, tests of other lanes may open and stop sessions."""
    with open_session("wals_spark tests", local_master="local[2]") as spark:
        spark.conf.set("spark.sql.shuffle.partitions", "2")
        yield spark


@pytest.fixture
def spark(_session: SparkSession) -> Iterator[SparkSession]:
    """The session of a file's tests, given back without anything cached."""
    yield _session
    _session.catalog.clearCache()
    for rdd in list(_session.sparkContext._jsc.getPersistentRDDs().values()):
        rdd.unpersist()
