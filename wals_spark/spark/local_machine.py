"""What a local run needs to know of its machine: what the user has set for Spark, how much memory there is."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession

TEMPORARY = "wals_spark-"
"""How the names of temporary folders of this package begin."""

MARK = "_wals_spark"  # in a folder that a process uses
_MIB = 2**20
_LEAST_HEAP_MIB = 512  # Spark refuses to start with less than 450 MiB


def local_conf() -> dict[str, str]:
    """Spark's settings for a local run, without those that the user has set."""
    conf = {
        # In local mode the driver's JVM is the whole cluster, and Spark's default is 1 GiB. The rest is for workers.
        "spark.driver.memory": f"{max(_LEAST_HEAP_MIB, memory_bytes() // 2 // _MIB)}m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.showConsoleProgress": "false",
        # Else each task waits for TCP's delayed acknowledgements, 40 ms. Spark 3.5 has no such setting and ignores it.
        "spark.python.unix.domain.socket.enabled": "true",
    }
    given = set_by_user()
    return {name: value for name, value in conf.items() if name not in given}


def set_by_user() -> set[str]:
    """The names that are set in ``spark-defaults.conf`` or PYSPARK_SUBMIT_ARGS; memory also by SPARK_DRIVER_MEMORY."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--conf", "-c", action="append", default=[])
    parser.add_argument("--driver-memory")
    parser.add_argument("--properties-file")
    arguments, _ = parser.parse_known_args(shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", "")))
    folder = os.environ.get("SPARK_CONF_DIR") or Path(os.environ.get("SPARK_HOME") or _find_spark_home(), "conf")
    lines = [*arguments.conf, *_lines(Path(arguments.properties_file or Path(folder, "spark-defaults.conf")))]
    names = {re.split(r"[\s=:]", line.strip(), maxsplit=1)[0] for line in lines}
    if arguments.driver_memory or os.environ.get("SPARK_DRIVER_MEMORY"):
        names.add("spark.driver.memory")
    return names


def memory_bytes(root: Path = Path("/")) -> int:
    """The memory of this machine, or of the container that this process is in if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits_of_control_groups(root)])


def _limits_of_control_groups(root: Path) -> Iterator[int]:
    """The limits in bytes of the process's control groups of memory and of the groups above, of versions 1 and 2."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", maxsplit=2)
        if controllers == "":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's, of which only the mount itself is there.
        folder = mount / group.lstrip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(mount):
                yield from (int(limit) for limit in _lines(place / name) if limit.isdigit())  # else max: no limit


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _own_folders(spark: SparkSession) -> Iterator[Path]:
    """The folders that this session's Spark keeps rows of this run in."""
    jvm = cast("Any", spark.sparkContext._jvm)
    started = jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getStartTime() / 1000
    for folder in _spark_folders(spark):
        with suppress(OSError):  # of another run, which has ended now
            status = folder.stat()
            if status.st_ctime >= started and status.st_uid == os.geteuid():
                yield folder


@contextmanager
def local_folders(spark: SparkSession) -> Iterator[None]:
    """Close this run's local folders to other users, mark them, and remove those that killed runs have left.

    Spark makes them for all to read, and leaves them behind when it is killed. A mark is a file that the process that
    made it holds locked: where it is not locked, that process is gone, in whatever container it was.
    """
    with ExitStack() as marks:
        for folder in _own_folders(spark):
            with suppress(OSError):
                folder.chmod(0o700)
                marks.enter_context(marked(folder))
        for folder in (*_spark_folders(spark), *Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*")):
            _remove_if_abandoned(folder)
        yield


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Mark a folder as in use by this process until the end of the ``with``."""
    with (folder / MARK).open("wb") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _remove_if_abandoned(folder: Path) -> None:
    """Remove a folder that has our mark and whose process is gone; whatever is wrong with it is not of this run."""
    with suppress(OSError), (folder / MARK).open("rb+") as mark:
        if folder.stat().st_uid == os.geteuid():
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _spark_folders(spark: SparkSession) -> Iterator[Path]:
    """What this and other runs of Spark have in the local directories of this one."""
    context, jvm = spark.sparkContext, cast("Any", spark.sparkContext._jvm)
    for parent in jvm.org.apache.spark.util.Utils.getConfiguredLocalDirs(context._jsc.sc().conf()):
        yield from (*Path(parent).glob("blockmgr-*"), *Path(parent).glob("spark-*"))
