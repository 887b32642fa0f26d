"""The Spark session of a job, the same under spark-submit and under plain python; and what the user's own lacks."""

from __future__ import annotations

import os
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

import wals_spark
from wals_spark.spark.archive import write_archive
from wals_spark.spark.causes import JAVA_ERRORS
from wals_spark.spark.lending import job_description_restored, runtime_conf, workers_of_this_python
from wals_spark.spark.local_machine import TEMPORARY, local_conf, local_folders, set_by_user

_BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"  # how many rows reach Python together
_RUNTIME_CONF = {
    # Interactions reach Python in Arrow batches; Spark's 10,000 rows make so many that the batches cost, not the rows.
    _BATCH_ROWS: "200000",
    # A limit in bytes makes Spark 4 size up the batch at every row, in a time that grows with the nulls at its end.
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
    # Spark keeps workers by their environment, and this is a variable of it in workers of DataFrames alone: with it
    # they are others than those of RDDs, a process of 100 MiB more per core.
    "spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled": "false",
    # pandas writes times in nanoseconds, which Spark refuses even in a column that nobody reads.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
}

# One BLAS thread per task: Spark runs a task per core, and a BLAS that takes all cores for each of them is slower.
_ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

_CATALOG = "spark.sql.catalogImplementation"

_archives: weakref.WeakKeyDictionary[SparkContext, tempfile.TemporaryDirectory[str]] = weakref.WeakKeyDictionary()


@contextmanager
def open_session(app_name: str, *, local_master: str = "local[*]", hive: bool = False) -> Iterator[SparkSession]:
    """Start Spark, yield the session, stop Spark.

    Under ``spark-submit`` the cluster's settings stand. Under plain ``python`` the job runs on ``local_master``
    with workers of the Python that runs it. Executors are sent this package, so it need not be installed on them.
    With ``hive``, the catalog is Hive's unless Spark's settings name one: Spark's own is empty when a job starts.
    """
    builder = SparkSession.builder.appName(app_name)
    if not started_by_spark_submit():
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        builder = builder.master(local_master)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # for Spark's UI, which has no setting for this
        for name, value in local_conf().items():
            builder = builder.config(name, value)
    if hive and _may_use_hive():
        builder = builder.config(_CATALOG, "hive")
    for name, value in _ONE_THREAD.items():
        builder = builder.config(f"spark.executorEnv.{name}", os.environ.get(name, value))
    builder = builder.config("spark.files.maxPartitionBytes", "1")  # one file of blocks per task, however small
    # A block receives rows from every machine, so where some of them are is no reason to run there. On few machines
    # Spark would choose one of them for all blocks, away from the persisted blocks.
    builder = builder.config("spark.shuffle.reduceLocality.enabled", "false")
    spark = builder.getOrCreate()
    try:
        with local_folders(spark) if is_local(spark) else nullcontext(), session_of(spark):
            yield spark
    finally:
        with suppress(*JAVA_ERRORS, OSError):  # a JVM that was told to end may be gone
            spark.stop()


@contextmanager
def session_of(spark: SparkSession) -> Iterator[SparkSession]:
    """Give any session what this package needs until the end of the ``with``.

    Executors are sent the package, once per application; what is changed of the session is restored at the end.
    """
    _send_package(spark)
    python = workers_of_this_python(spark) if is_local(spark) else nullcontext()
    with python, job_description_restored(spark), runtime_conf(spark, _RUNTIME_CONF):
        yield spark


@contextmanager
def arrow_batch_rows(spark: SparkSession, rows: int) -> Iterator[None]:
    """Let so many rows reach Python together until the end of the ``with``."""
    with runtime_conf(spark, {_BATCH_ROWS: str(rows)}):
        yield


def started_by_spark_submit() -> bool:
    """Whether a launcher outside this process has made the JVM and its settings."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _may_use_hive() -> bool:
    """Whether the user has chosen no catalog, and Spark has Hive's classes."""
    if not started_by_spark_submit():
        return _CATALOG not in set_by_user()  # PySpark comes with Hive
    SparkContext._ensure_initialized()
    try:
        cast("Any", SparkContext._jvm).java.lang.Class.forName("org.apache.hadoop.hive.conf.HiveConf")
    except Py4JJavaError:
        return False
    return not SparkConf().contains(_CATALOG)


def is_local(spark: SparkSession) -> bool:
    """Whether executors are this machine's own, and see its files."""
    return (spark.sparkContext.master or "").startswith("local[")


def _send_package(spark: SparkSession) -> None:
    """Send every executor this package's code, the version that the driver runs, unless they share its files."""
    folder = Path(wals_spark.__file__).parent
    if is_local(spark) or not folder.is_dir() or spark.sparkContext in _archives:
        return  # workers see the driver's files; or the package came in a --py-files archive; or it is sent already
    # Executors fetch from the folder whenever one comes up; it is deleted with the SparkContext.
    _archives[spark.sparkContext] = sent = tempfile.TemporaryDirectory(prefix=TEMPORARY)
    archive = Path(sent.name, "wals_spark.zip")
    write_archive(archive)
    spark.sparkContext.addPyFile(str(archive))
