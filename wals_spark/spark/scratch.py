"""A temporary folder for a model that no folder was named for, deleted with the last reference to it."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError
from wals_spark.spark.causes import JAVA_ERRORS, Causes
from wals_spark.spark.local_machine import TEMPORARY, marked
from wals_spark.spark.session import is_local
from wals_spark.spark.storage import Storage

logger = logging.getLogger("wals_spark")

_PROBE = "shared"
_WAYS_OUT = "Name one: workDir or output.path, the variable SPARKML_TEMP_DFS_PATH, or SparkContext.setCheckpointDir"


class Scratch:
    """A folder that the driver and all executors can write to.

    It is below the first of: the ``base``, if there is one; the folder that the variable SPARKML_TEMP_DFS_PATH names,
    as for Spark ML; the checkpoint folder of the SparkContext; this machine's temporary folder, with a local master;
    the user's home on the default file system of the cluster. It is deleted when nothing refers to the object, and at
    the latest when Python exits.

    Attributes
    ----------
    is_shared
        False if the cluster has no such folder; then the driver alone has one, and a warning was logged.
    driver_storage
        The folder, for what the driver writes.
    """

    def __init__(self, spark: SparkSession, base: str = "") -> None:
        base = base or os.environ.get("SPARKML_TEMP_DFS_PATH") or _checkpoint_folder(spark)
        has_one_machine = is_local(spark)
        if base:
            storage: Storage | None = Storage(spark, _name_below(base))
        else:
            storage = None if has_one_machine else _shared_home(spark)
        self.is_shared = storage is not None or has_one_machine
        if storage is not None:
            self.driver_storage = storage
            weakref.finalize(self, _delete, storage)
            return
        folder = tempfile.mkdtemp(prefix=TEMPORARY)
        with ExitStack() as mark:
            mark.enter_context(marked(Path(folder)))
            self.driver_storage = Storage(spark, Path(folder).as_uri())
            weakref.finalize(self, _delete_local, folder, mark.pop_all())

    @property
    def storage(self) -> Storage:
        """The folder.

        Raises
        ------
        ConfigError
            If the driver alone has one.
        """
        if not self.is_shared:
            raise ConfigError(f"this needs a folder that driver and executors share, and there is none. {_WAYS_OUT}")
        return self.driver_storage


def _checkpoint_folder(spark: SparkSession) -> str:
    folder = spark.sparkContext._jsc.sc().getCheckpointDir()
    return str(folder.get()) if folder.isDefined() else ""


def _name_below(folder: str) -> str:
    return f"{folder}/.wals_spark-{uuid.uuid4().hex}"


def _shared_home(spark: SparkSession) -> Storage | None:
    """A new folder below the user's home on the default file system; None, and a warning, if machines share none."""
    sc = spark.sparkContext
    try:
        storage = Storage(spark, _name_below(_home(sc)))
        storage.replace("", _PROBE)
        if _is_seen_by_executors(sc, storage.path(_PROBE)):
            return storage
        reason = f"{storage.root} is each machine's own"
        storage.delete_tree()
    except (ConfigError, OSError, *JAVA_ERRORS) as error:
        reason = str(Causes(error))
    logger.warning("driver and executors share no folder, so the model is kept in memory: %s. %s", reason, _WAYS_OUT)
    return None


def _home(sc: SparkContext) -> str:
    assert sc._jvm is not None  # a classic session always has one
    file_system = sc._jvm.org.apache.hadoop.fs.FileSystem.get(sc._jsc.hadoopConfiguration())
    return str(file_system.getHomeDirectory().toString())


def _is_seen_by_executors(sc: SparkContext, path: str) -> bool:
    """Whether executors have the driver's file, which is sure unless it is on a local disk."""
    if not path.startswith("file:"):
        return True
    tasks = sc.defaultParallelism
    return all(sc.parallelize([path.removeprefix("file:")] * tasks, tasks).map(os.path.exists).collect())


def _delete_local(folder: str, mark: ExitStack) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    mark.close()


def _delete(storage: Storage) -> None:
    with suppress(Exception):  # at exit the JVM may be gone
        storage.delete_tree()
