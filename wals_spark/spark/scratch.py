"""A temporary folder for a model that no folder was named for, deleted with the last reference to it."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

from pyspark.sql import SparkSession

from wals_spark.spark.local_machine import TEMPORARY, marked
from wals_spark.spark.session import is_local
from wals_spark.spark.storage import Storage


class Scratch:
    """A folder that the driver and all executors can write to.

    It is below the first of: the ``base``, if there is one; the folder that the variable SPARKML_TEMP_DFS_PATH names,
    as for Spark ML; the checkpoint folder of the SparkContext; this machine's temporary folder, with a local master;
    the user's home on the default file system of the cluster. It is deleted when nothing refers to the object, and at
    the latest when Python exits.
    """

    def __init__(self, spark: SparkSession, base: str = "") -> None:
        base = base or os.environ.get("SPARKML_TEMP_DFS_PATH") or _checkpoint_folder(spark)
        if not base and is_local(spark):
            folder = tempfile.mkdtemp(prefix=TEMPORARY)
            with ExitStack() as mark:
                mark.enter_context(marked(Path(folder)))
                self.storage = Storage(spark, folder)
                weakref.finalize(self, _delete_local, folder, mark.pop_all())
            return
        self.storage = Storage(spark, f"{base or _home(spark)}/.wals_spark-{uuid.uuid4().hex}")
        weakref.finalize(self, _delete, self.storage)


def _checkpoint_folder(spark: SparkSession) -> str:
    folder = spark.sparkContext._jsc.sc().getCheckpointDir()
    return str(folder.get()) if folder.isDefined() else ""


def _home(spark: SparkSession) -> str:
    jvm = spark.sparkContext._jvm
    assert jvm is not None  # a classic session always has one
    file_system = jvm.org.apache.hadoop.fs.FileSystem.get(spark.sparkContext._jsc.hadoopConfiguration())
    return str(file_system.getHomeDirectory().toString())


def _delete_local(folder: str, mark: ExitStack) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    mark.close()


def _delete(storage: Storage) -> None:
    with suppress(Exception):  # at exit the JVM may be gone
        storage.delete_tree()
