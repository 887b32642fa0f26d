"""Removes what runs that died have left below a root. Only the run that holds the lease may; only our own goes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Set

from wals_spark.errors import InputError
from wals_spark.run.run_record import read_run_record
from wals_spark.spark.file_systems import TEMPORARY
from wals_spark.spark.storage import EVENTS, GRAMIANS, MANIFEST, MARK, REPORT, Storage

logger = logging.getLogger("wals_spark")

RUNS, VERSIONS = "runs", "versions"
RUN_RECORD = "run.json"
WORK_OF_RUN = ("interactions", "blocks", "checkpoints", "negatives")
_OF_01 = {EVENTS, GRAMIANS, REPORT, "_work", "user_factors", "item_factors", "item_weights"}
_TEMPORARY = re.compile(rf"\..+\.[0-9a-f]{{32}}{re.escape(TEMPORARY)}")


def remove_remains(storage: Storage, work: Storage, run: str) -> None:
    """Remove incomplete versions, and blocks and checkpoints of other runs than ``run``, which are below ``work``."""
    removed = [*_remove_versions(storage), *_remove_runs(storage, run), *_remove_work(storage, work, run)]
    for folder in ((), (RUNS, run)):
        for name in storage.names(*folder):
            if _TEMPORARY.fullmatch(name):
                storage.delete_tree(*folder, name)
                removed.append("/".join((*folder, name)))
    if removed:
        logger.info("removed what runs that died have left below %s: %s", storage.root, ", ".join(removed))


def is_ours(names: Set[str]) -> bool:
    """Whether a version's folder with these names and no manifest is of this package; 0.1 left no mark in it."""
    return not names or MARK in names or (EVENTS in names and names <= _OF_01)


def mark_work(storage: Storage, work: Storage, run: str) -> None:
    """Mark the folder of a run's blocks and checkpoints as of this root."""
    work.replace(storage.root, RUNS, run, MARK)


def delete_work(work: Storage, run: str, *, all_of_it: bool = False) -> None:
    """Delete the blocks and checkpoints of a run, and with ``all_of_it`` the folder of the run."""
    if all_of_it:
        work.delete_tree(RUNS, run)
    for name in (*WORK_OF_RUN, MARK):
        work.delete_tree(RUNS, run, name)
    for folder in (work.path(RUNS, run), work.path(RUNS)):
        work.delete_empty(folder)


def _remove_versions(storage: Storage) -> Iterator[str]:
    for version in storage.names(VERSIONS):
        folder = f"{VERSIONS}/{version}"
        names = set(storage.names(folder))
        if MANIFEST in names and MARK in names:
            storage.delete_tree(folder, MARK)
        elif MANIFEST not in names and is_ours(names):
            storage.delete_tree(folder)
            yield folder


def _remove_runs(storage: Storage, run: str) -> Iterator[str]:
    """What is beside the records of other runs, and the record of a training that wrote no version, not of a night."""
    for other in storage.names(RUNS):
        if other == run or not storage.exists(RUNS, other, RUN_RECORD):
            continue
        where = storage.path(RUNS, other, RUN_RECORD)
        try:
            record = read_run_record(storage.read_text(RUNS, other, RUN_RECORD), where)
        except InputError as error:
            logger.warning("%s", error)
            continue
        if record.state != "published" and record.job == "train":
            delete_work(storage, other, all_of_it=True)
            yield f"{RUNS}/{other}"
        elif any(storage.exists(RUNS, other, name) for name in WORK_OF_RUN):
            delete_work(storage, other)
            yield f"blocks of {RUNS}/{other}"


def _remove_work(storage: Storage, work: Storage, run: str) -> Iterator[str]:
    """Blocks and checkpoints below another folder, which runs of other roots may share."""
    for other in work.names(RUNS) if work.root != storage.root else []:
        if other != run and work.exists(RUNS, other, MARK) and work.read_text(RUNS, other, MARK) == storage.root:
            delete_work(work, other)
            yield work.path(RUNS, other)
