"""Weighed blocks as files beside an executor, mapped by workers that would else be sent them in each half-iteration."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from wals_spark.weighing import FIELDS, WeighedBlock


def save_block(block: WeighedBlock, name: str, training: str) -> None:
    """Keep a block on this machine, in the place of an earlier training's of this ``name``, until Spark ends."""
    folder = _folder(name, training)
    if folder.exists():
        return
    for stale in folder.parent.glob(f"{name}.*"):
        shutil.rmtree(stale, ignore_errors=True)
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    for field in FIELDS:
        np.save(unfinished / f"{field}.npy", getattr(block, field))
    unfinished.replace(folder)


def open_block(name: str, training: str) -> WeighedBlock | None:
    """Map a block that was saved on this machine; None if it was not."""
    folder = _folder(name, training)
    if not folder.exists():
        return None
    # Copy on write, though nothing is written: compiled loops take arrays that are read-only for another type.
    arrays = {field: np.load(folder / f"{field}.npy", mmap_mode="c").view(np.ndarray) for field in FIELDS}
    return WeighedBlock(**arrays)


def _folder(name: str, training: str) -> Path:
    """Below the first of the executor's own folders, which Spark names to its workers and deletes when it ends."""
    return Path(os.environ["SPARK_LOCAL_DIRS"].split(",")[0], "wals_spark", f"{name}.{training}")
