"""The Spark session of a job: the same job under spark-submit and under plain python."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

import wals_spark
from wals_spark.spark.archive import write_archive

BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"  # how many rows reach Python together

# One BLAS thread a task: Spark runs a task per core, and a BLAS that takes all cores for each of them is slower.
_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


@contextmanager
def open_session(app_name: str, *, local_master: str = "local[*]") -> Iterator[SparkSession]:
    """Start Spark, give the session, stop Spark.

    Under ``spark-submit`` the cluster's settings stand. Under plain ``python`` the job runs on ``local_master``
    with the workers on this very Python. Executors are sent this package, so it need not be installed on them.
    """
    builder = SparkSession.builder.appName(app_name)
    if not started_by_spark_submit():
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        builder = builder.master(local_master)
        builder = builder.config("spark.driver.memory", f"{_local_memory_mib()}m")
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
        builder = builder.config("spark.ui.showConsoleProgress", "false")
        # Else each task waits for TCP's delayed acknowledgements, 40 ms. Spark 3.5 has no such setting and ignores it.
        builder = builder.config("spark.python.unix.domain.socket.enabled", "true")
    for name, value in _ONE_THREAD.items():
        builder = builder.config(f"spark.executorEnv.{name}", os.environ.get(name, value))
    builder = builder.config("spark.files.maxPartitionBytes", "1")  # blocks are read a file a task, however small
    # A block is sent rows from every machine, so where some of them are is no place to be. On few machines Spark would
    # choose one of them for all blocks, away from what is kept of these.
    builder = builder.config("spark.shuffle.reduceLocality.enabled", "false")
    spark = builder.getOrCreate()
    sent = tempfile.TemporaryDirectory(prefix="wals_spark-")  # executors fetch from it whenever one comes up
    try:
        # Interactions reach Python in Arrow batches; Spark's 10,000 rows make so many that the batches cost, not rows.
        spark.conf.set(BATCH_ROWS, "200000")
        # A limit in bytes makes Spark 4 size up the batch at every row, in a time that grows with the nulls at its end.
        spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(2**31 - 1))
        # Workers are kept by their environment, and this is a variable of it in those of DataFrames alone: with it they
        # are others than those of RDDs, a process of 100 MiB more for every core.
        spark.conf.set("spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled", "false")
        _send_package(spark, Path(sent.name))
        yield spark
    finally:
        spark.stop()
        sent.cleanup()


def started_by_spark_submit() -> bool:
    """Whether a launcher outside this process has made the JVM and its settings."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _local_memory_mib() -> int:
    """Half of the machine: in local mode the driver's JVM is the whole cluster, and Spark's default is 1 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1024, total // 2 // 2**20)


def _send_package(spark: SparkSession, scratch: Path) -> None:
    """Give every executor this package's code, the version the driver runs, unless they share its files."""
    folder = Path(wals_spark.__file__).parent
    if (spark.sparkContext.master or "").startswith("local[") or not folder.is_dir():
        return  # workers see the driver's files; or the package came in a --py-files archive and is there already
    archive = scratch / "wals_spark.zip"
    write_archive(archive)
    spark.sparkContext.addPyFile(str(archive))
