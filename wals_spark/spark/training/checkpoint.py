"""Checkpoints of a training on storage: written by the executors, each file with its size and checksum.

``<folder>/<half-iteration>/`` has the factors of both sides as records in Parquet, those of the best iteration where it
is kept, and last ``index.json`` with everything else. Two are kept; one that is not whole is passed over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float32Array
from wals_spark.errors import InputError
from wals_spark.run.checkpoint_times import interval_seconds
from wals_spark.run.events import HalfIteration
from wals_spark.run.faults import fault_point
from wals_spark.run.sealed import read_sealed, sealed_json
from wals_spark.spark.causes import JAVA_ERRORS, lasting_causes
from wals_spark.spark.checksums import checksums
from wals_spark.spark.storage import Storage
from wals_spark.spark.training.half_iteration import Side
from wals_spark.spark.training.rdd import by_block, materialize, persist
from wals_spark.spark.training.sides import read_records, write_records
from wals_spark.spark.training.state import Best, TrainingState

logger = logging.getLogger("wals_spark")

INDEX = "index.json"
_BEST = "best"


class StoredCheckpoints:
    """The checkpoints of one run in a folder of a storage.

    Parameters
    ----------
    every
        Seconds between two; ``auto``: `checkpoint_times.interval_seconds`; ``never``.
    guard
        Called before anything is deleted or completed; raises if the run may no longer write.
    """

    def __init__(
        self, storage: Storage, folder: str, every: float | str, guard: Callable[[], None] = lambda: None
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._every = every
        self._guard = guard
        self._last = time.monotonic()
        self._cost: float | None = None
        self._number = 0  # the half-iteration of the last one

    def is_due(self) -> bool:
        """Whether it is time to save a state."""
        if self._every == "never":
            return False
        every = interval_seconds(self._cost, self._executors()) if isinstance(self._every, str) else self._every
        return time.monotonic() - self._last >= every

    def save(self, state: TrainingState) -> None:
        """Write a state, and delete those before the last two."""
        number = state.events[-1].number
        if number == self._number or self._every == "never":
            return
        began, storage, name = time.monotonic(), self._storage, _name(number)
        self._guard()
        fault_point("before_checkpoint")
        storage.delete_tree(self._folder, name)  # what a run that died has left
        kinds = dict(state.sides)
        if state.best is not None and all(state.best.side is not side for side in state.sides.values()):
            kinds[_BEST] = state.best.side
        for kind, side in kinds.items():
            storage.spark.sparkContext.setJobDescription(f"checkpoint {number}: {kind}")
            write_records(storage.spark, side.current_factors, storage.path(self._folder, name, f"kind={kind}"))
        files = checksums(storage, f"{self._folder}/{name}", [f"kind={kind}" for kind in kinds])
        storage.force(self._folder, name)
        fault_point("before_checkpoint_index")
        self._guard()
        storage.replace(sealed_json({**_document(state, kinds), "files": files}), self._folder, name, INDEX)
        fault_point("after_checkpoint")
        kept = {name, _name(self._number)}
        self._number, self._last = number, time.monotonic()
        self._cost = self._last - began
        for other in set(self._names()) - kept:
            storage.delete_tree(self._folder, other)
        logger.info("checkpoint after half-iteration %d, in %.2f s", number, self._cost)

    def latest(self, sides: Mapping[str, Side]) -> TrainingState | None:
        """The last state that is whole, with its factors persisted; None if there is none."""
        for name in reversed(self._names()):
            document = self._whole(name)
            if document is not None:
                state = self._state(name, document, sides)
                self._number, self._last = state.events[-1].number, time.monotonic()
                return state
        return None

    def _names(self) -> list[str]:
        return [name for name in self._storage.names(self._folder) if name.isdecimal()]

    def _executors(self) -> int:
        """The executors of the session, besides the driver."""
        return int(self._storage.spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1

    def _whole(self, name: str) -> dict[str, Any] | None:
        """The index of a checkpoint whose files are all as they were written."""
        storage, where = self._storage, f"{self._folder}/{name}"
        if not storage.exists(where, INDEX):
            return None  # its run died while it was written
        try:
            document = read_sealed(storage.read_text(where, INDEX), storage.path(where, INDEX))
            found = checksums(storage, where, [f"kind={kind}" for kind in document["kinds"]])
        except InputError as error:
            logger.warning("passed over a checkpoint: %s", error)
            return None
        except JAVA_ERRORS as error:  # a local file system has checksums of its own
            causes = lasting_causes(error)
            logger.warning("passed over a checkpoint: %s cannot be read: %s", storage.path(where), causes)
            return None
        for path, expected in document["files"].items():
            if list(found.get(path, ())) != expected:
                logger.warning("passed over a checkpoint: %s is not as it was written", storage.path(where, path))
                return None
        return document

    def _state(self, name: str, document: dict[str, Any], sides: Mapping[str, Side]) -> TrainingState:
        folder = self._storage.path(self._folder, name)

        def restored(kind: str, of: str) -> Side:
            side, saved = sides[of], document["kinds"][kind]
            spark, n_blocks = side.blocked.spark, side.blocked.n_blocks
            factors = persist(by_block(read_records(spark, folder, kind, n_blocks), n_blocks))
            factors.localCheckpoint()
            spark.sparkContext.setJobDescription(f"read checkpoint {name}: {kind}")
            materialize(factors)
            gramian = np.array(saved["gramian"], dtype=np.float64)
            return Side(side.blocked, side.prepared, gramian, saved["penalty"], factors)

        both = {of: restored(of, of) for of in sides}
        best = None
        if document["best"] is not None:
            of, saved = document["best"]["side"], document["best"]
            side = restored(_BEST, of) if _BEST in document["kinds"] else both[of]
            best = Best(saved["iteration"], saved["value"], side, _no_rows(side))
        return TrainingState(
            [HalfIteration.from_record(record) for record in document["events"]],
            document["step"],
            document["constant"],
            Histogram.from_record(document["weights"]),
            both,
            best,
            document.get("warm_rows", {}),
        )


def _document(state: TrainingState, kinds: Mapping[str, Side]) -> dict[str, Any]:
    """What the index says besides its files."""
    best = state.best
    return {
        "format": "wals_spark checkpoint",
        "half_iteration": state.events[-1].number,
        "step": state.step,
        "constant": state.constant,
        "weights": state.weights.as_record(),
        "warm_rows": dict(state.warm_rows),
        "kinds": {
            kind: {"gramian": side.gramian.tolist(), "penalty": float(side.penalty)} for kind, side in kinds.items()
        },
        "best": best and {"iteration": best.iteration, "value": best.value, "side": best.side.blocked.name},
        "events": [event.as_record() for event in state.events],
    }


def _name(number: int) -> str:
    return f"{number:06d}"


def _no_rows(side: Side) -> Float32Array:
    return np.empty((0, len(side.gramian)), dtype=np.float32)
