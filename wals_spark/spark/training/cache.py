"""The executor-local cache: what tasks leave on their machine's disk for later tasks there, which map it into memory.

It is a help and never a reason to fail: whatever is wrong with its files is an OSError or a ValueError, which
`tasks.py` takes for a miss. The folder of a block has its weighted block, its out-block and heavy parts, and its
factors of the last two steps in which it was solved. Arrays are named as on the wire (`blocks/encoding.py`).
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array
from wals_spark.blocks.encoding import MappedArrays, NamedArray, map_array

MISSES = (OSError, ValueError, EOFError)
"""What is raised where files are missing, cut, unreadable or cannot be written."""

FOLDER = "wals_spark"  # in each of the executor's local directories
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


class CacheLocation(NamedTuple):
    """A folder of a machine."""

    host: str
    folder: str


@dataclass(frozen=True)
class CachedSide:
    """The location of each block of a side, and the step in which its factors were solved."""

    locations: Mapping[int, CacheLocation]
    step: int

    @property
    def hosts(self) -> set[str]:
        """The machines that have some of the blocks."""
        return {location.host for location in self.locations.values()}


@dataclass(frozen=True)
class BlockCache:
    """The cached files of one block."""

    folder: Path

    @classmethod
    def saved(cls, training: str, side: str, block: int, arrays: Sequence[NamedArray]) -> BlockCache:
        """Write what does not change in training to one of the executor's local directories.

        Blocks take turns with the directories, and a directory that cannot take a block passes it on to the next.
        ``training`` is a name that no other training has.

        Raises
        ------
        OSError
            If none of the directories can take it.
        """
        directories = _local_directories()
        first = block % len(directories)
        for directory in (others := [*directories[first:], *directories[:first]]):
            try:
                return cls._saved_to(directory / FOLDER / training / f"{side}-{block}", arrays)
            except OSError:
                if directory is others[-1]:
                    raise
        raise AssertionError("unreachable")

    @classmethod
    def _saved_to(cls, folder: Path, arrays: Sequence[NamedArray]) -> BlockCache:
        """Write all of a block or nothing; two attempts at a task may do so at the same time."""
        if _is_in_memory(folder.parent.parent.parent):
            raise OSError(f"{folder.parent.parent.parent} is in memory, which the cache would take from tasks")
        # Asked first whether it exists: what another attempt puts there in the meantime is whole, and stays.
        is_damaged = folder.exists() and not MappedArrays(folder).is_whole()
        if is_damaged:
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
            try:
                unfinished.mkdir(parents=True)
                MappedArrays(unfinished).save(arrays)
                unfinished.replace(folder)  # refused if another attempt has put its own there
            except OSError:
                if not MappedArrays(folder).is_whole():  # else another attempt was faster
                    raise
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        return cls(folder)

    @classmethod
    def at(cls, location: CacheLocation) -> BlockCache:
        """The files that a task of this machine left.

        Raises
        ------
        FileNotFoundError
            If they are on another machine.
        """
        if location.host != socket.gethostname():
            raise FileNotFoundError(f"{location.folder} is on {location.host}, not on {socket.gethostname()}")
        return cls(Path(location.folder))

    @property
    def location(self) -> CacheLocation:
        """Where tasks on this machine find the files."""
        return CacheLocation(socket.gethostname(), str(self.folder))

    @cached_property
    def arrays(self) -> MappedArrays:
        """What does not change in training, mapped."""
        return MappedArrays(self.folder)

    def save_factors(self, factors: Float32Array, step: int) -> None:
        """Write the factors solved in a step, and keep those they were solved from: Spark may repeat a task."""
        unfinished = self.folder / f"{uuid.uuid4().hex}.npy"
        try:
            np.save(unfinished, factors)
            unfinished.replace(self.folder / _factors_file(step, unfinished.stat().st_size))
        finally:
            unfinished.unlink(missing_ok=True)
        of_step = {file: int(file.name.split("-")[1]) for file in self.folder.glob("factors-*.npy")}
        latest = sorted(set(of_step.values()))[-2:]
        for file, step_of_file in of_step.items():
            if step_of_file not in latest:
                file.unlink(missing_ok=True)

    def factors(self, step: int) -> Float32Array:
        """The factors solved in a step, mapped copy on write."""
        for file in self.folder.glob(f"factors-{step}-*.npy"):
            mapped: Float32Array = map_array(file, int(file.stem.rpartition("-")[2]))
            return mapped
        raise FileNotFoundError(f"{self.folder} has no factors of step {step}")


def delete_training(training: str) -> None:
    """Delete all that a training has cached on this machine."""
    with suppress(KeyError):  # not a worker of an executor
        for directory in _local_directories():
            shutil.rmtree(directory / FOLDER / training, ignore_errors=True)


def _local_directories() -> list[Path]:
    """The executor's local directories, which Spark tells its workers and deletes at its end."""
    return [Path(name) for name in os.environ["SPARK_LOCAL_DIRS"].split(",")]


def _factors_file(step: int, size: int) -> str:
    return f"factors-{step}-{size}.npy"


@lru_cache(maxsize=64)
def _is_in_memory(folder: Path) -> bool:
    """Whether a folder is on a file system without a disk, as far as Linux says."""
    try:
        device = folder.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(mount.split()[2] == number and mount.partition(" - ")[2].split()[0] in _IN_MEMORY for mount in mounts)
