"""What tasks leave on their machine for later tasks there, which map it and need not be sent it.

A block's folder has its weighed block, what it sends and sums for the other side, and its factors of the last two turns
in which it was solved.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import AnyArray, Float32Array
from wals_spark.blocks.in_out import OutBlock
from wals_spark.blocks.weighted import FIELDS, WeightedBlock
from wals_spark.solvers.heavy_rows import NO_HEAVY_ROWS, HeavyParts, HeavyRows


class CacheLocation(NamedTuple):
    """A folder of a machine."""

    host: str
    folder: str


@dataclass(frozen=True)
class CachedSide:
    """The place of each block's files, and the turn in which its factors were solved."""

    places: Mapping[int, CacheLocation]
    turn: int

    @property
    def hosts(self) -> set[str]:
        """The machines that have some."""
        return {place.host for place in self.places.values()}


class BlockCache:
    """The files of one block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, training: str, side: str, block: int) -> BlockCache:
        """Below the first of the executor's own folders, which Spark names to its workers and deletes when it ends.

        ``training`` is a name that no other training has.
        """
        return cls(Path(os.environ["SPARK_LOCAL_DIRS"].split(",")[0], "wals_spark", f"{side}-{block}.{training}"))

    @classmethod
    def at(cls, place: CacheLocation) -> BlockCache:
        """Those that a task of this machine left; FileNotFoundError if they are not here."""
        if place.host != socket.gethostname():
            raise FileNotFoundError(f"{place.folder} is on {place.host}, not on {socket.gethostname()}")
        return cls(Path(place.folder))

    @property
    def place(self) -> CacheLocation:
        """Where tasks on this machine find them."""
        return CacheLocation(socket.gethostname(), str(self.folder))

    def save_blocks(
        self,
        weighted: WeightedBlock,
        out_block: OutBlock,
        spread: HeavyRows = NO_HEAVY_ROWS,
        shares: HeavyParts | None = None,
    ) -> None:
        """Keep what does not change in training, whole, in the place of an earlier training's."""
        if self.folder.exists():
            return
        for stale in self.folder.parent.glob(f"{self.folder.stem}.*"):
            shutil.rmtree(stale, ignore_errors=True)
        unfinished = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        _save_weighed(weighted, unfinished)
        for destination, share in (shares or {}).items():
            _save_weighed(share, unfinished / f"share-{destination}")
        for name, array in spread.arrays.items():
            np.save(unfinished / f"{name}.npy", array)
        rows = [np.empty(0, dtype=np.int32), *out_block.values()]
        np.save(unfinished / "out_destinations.npy", np.array(list(out_block), dtype=np.int64))
        np.save(unfinished / "out_ends.npy", np.cumsum([len(some) for some in rows]))
        np.save(unfinished / "out_rows.npy", np.concatenate(rows))
        unfinished.replace(self.folder)

    def weighted(self) -> WeightedBlock:
        """The weighed block, mapped."""
        return _weighted(self.folder)

    def spread(self) -> HeavyRows:
        """Which of its rows are spread, mapped."""
        return HeavyRows(*(_mapped(self.folder / name) for name in NO_HEAVY_ROWS.arrays))

    def shares(self) -> HeavyParts:
        """What this block sums for others, mapped."""
        folders = {int(folder.name.rpartition("-")[2]): folder for folder in self.folder.glob("share-*")}
        return {destination: _weighted(folders[destination]) for destination in sorted(folders)}

    def out_block(self) -> OutBlock:
        """The out-block, mapped."""
        ends, rows = _mapped(self.folder / "out_ends"), _mapped(self.folder / "out_rows")
        destinations = _mapped(self.folder / "out_destinations").tolist()
        return {peer: rows[ends[n] : ends[n + 1]] for n, peer in enumerate(destinations)}

    def save_factors(self, factors: Float32Array, turn: int) -> None:
        """Keep what was solved in a turn, whole, and what it was solved from: a task may be repeated."""
        unfinished = self.folder / f"{os.getpid()}.npy"
        np.save(unfinished, factors)
        unfinished.replace(self._factors(turn))
        turns = sorted(int(path.stem.rpartition("-")[2]) for path in self.folder.glob("factors-*.npy"))
        for old in turns[:-2]:
            self._factors(old).unlink(missing_ok=True)

    def factors(self, turn: int) -> Float32Array:
        """What was solved in a turn, mapped."""
        return _mapped(self._factors(turn).with_suffix(""))

    def _factors(self, turn: int) -> Path:
        return self.folder / f"factors-{turn}.npy"


def _weighted(folder: Path) -> WeightedBlock:
    return WeightedBlock(**{field: _mapped(folder / field) for field in FIELDS})


def _save_weighed(weighted: WeightedBlock, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for field in FIELDS:
        np.save(folder / f"{field}.npy", getattr(weighted, field))


def _mapped(file: Path) -> AnyArray:
    # Copy on write, though nothing is written: compiled loops take arrays that are read-only for another type.
    mapped: AnyArray = np.load(f"{file}.npy", mmap_mode="c").view(np.ndarray)
    return mapped
