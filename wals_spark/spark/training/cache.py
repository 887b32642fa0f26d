"""The executor-local cache: what tasks leave on their machine's disk for later tasks there, which map it into memory.

The folder of a block has its weighted block, its out-block and heavy parts, and its factors of the last two steps in
which it was solved. Arrays are named as on the wire (`blocks/encoding.py`).
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array
from wals_spark.blocks.encoding import MappedArrays, NamedArray


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
    def of(cls, training: str, side: str, block: int) -> BlockCache:
        """In the first of the executor's local directories, which Spark tells its workers and deletes at its end.

        ``training`` is a name that no other training has.
        """
        return cls(Path(os.environ["SPARK_LOCAL_DIRS"].split(",")[0], "wals_spark", f"{side}-{block}.{training}"))

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

    @property
    def arrays(self) -> MappedArrays:
        """What does not change in training, mapped."""
        return MappedArrays(self.folder)

    def save_arrays(self, arrays: Iterable[NamedArray]) -> None:
        """Write what does not change in training, all of it or nothing; it replaces that of an earlier training."""
        if self.folder.exists():
            return
        for stale in self.folder.parent.glob(f"{self.folder.stem}.*"):
            shutil.rmtree(stale, ignore_errors=True)
        unfinished = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        MappedArrays(unfinished).save(arrays)
        unfinished.replace(self.folder)

    def save_factors(self, factors: Float32Array, step: int) -> None:
        """Write the factors solved in a step, and keep those they were solved from: Spark may repeat a task."""
        unfinished = self.folder / f"{os.getpid()}.npy"
        np.save(unfinished, factors)
        unfinished.replace(self._factors(step))
        steps = sorted(int(path.stem.rpartition("-")[2]) for path in self.folder.glob("factors-*.npy"))
        for old in steps[:-2]:
            self._factors(old).unlink(missing_ok=True)

    def factors(self, step: int) -> Float32Array:
        """The factors solved in a step, mapped copy on write."""
        mapped: Float32Array = np.load(self._factors(step), mmap_mode="c").view(np.ndarray)
        return mapped

    def _factors(self, step: int) -> Path:
        return self.folder / f"factors-{step}.npy"
