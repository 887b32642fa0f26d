"""A run: its lease, its record, what it goes on with, and how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import msgspec
from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError, GateError, HeldError, InputError, InterruptedRunError, WalsError
from wals_spark.messages import quoted
from wals_spark.run.faults import fault_point
from wals_spark.run.manifest import new_version_name, read_manifest
from wals_spark.run.run_record import RunRecord, State, read_run_record, settings_of_model, written_by
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.settings.train import Config
from wals_spark.spark.causes import STORAGE_ERRORS, raise_as_refused
from wals_spark.spark.lease import Lease, held_lease
from wals_spark.spark.model.history import restored_current
from wals_spark.spark.model.publish import refuse_existing, serve, version_folder
from wals_spark.spark.remains import RUN_RECORD, RUNS, delete_work, mark_work, remove_remains
from wals_spark.spark.stopping import raise_if_stopped, stoppable
from wals_spark.spark.storage import MANIFEST, Storage
from wals_spark.spark.training.checkpoint import StoredCheckpoints

logger = logging.getLogger("wals_spark")

_SECONDS_BETWEEN_RECORDS = 5.0


@dataclass
class Run:
    """A run that is open.

    Attributes
    ----------
    storage, work : Storage
        The model's root, and where blocks and checkpoints are.
    name, version : str
        Of the run and of the version that it writes.
    resumes : bool
        Whether an earlier attempt may have left blocks and checkpoints.
    is_complete : bool
        Whether an earlier attempt wrote the version.
    was_published : bool
        Whether an earlier attempt went to its end.
    outcome : str
        The state that it ends in, if nothing fails.
    """

    storage: Storage
    work: Storage
    config: Config
    name: str
    version: str
    created: datetime
    record: RunRecord
    lease: Lease | None = None
    is_recorded: bool = False
    resumes: bool = False
    is_complete: bool = False
    was_published: bool = False
    outcome: State = "published"
    _began: float = field(default_factory=time.monotonic)
    _written: float = float("-inf")

    @property
    def folder(self) -> str:
        """The folder of blocks and checkpoints, below the root of ``work``."""
        return f"{RUNS}/{self.name}"

    def check(self) -> None:
        """Refuse to write on if the run was told to end, or another has taken over.

        Raises
        ------
        HeldError, InterruptedRunError
            The reason.
        """
        raise_if_stopped()
        self.check_lease()

    def check_lease(self) -> None:
        """Refuse to write on if another run has taken over; a run that was told to end may leave things in order.

        Raises
        ------
        HeldError
            With who it is.
        """
        if self.lease is not None:
            self.lease.check()

    def step(self, name: str, *, now: bool = True) -> None:
        """Note what the run is doing; not ``now``: unless it has done so some seconds ago."""
        self.record = msgspec.structs.replace(self.record, step=name)
        if now and not self.was_published:
            seconds = round(time.monotonic() - self._began, 3)
            self.record = msgspec.structs.replace(
                self.record, steps=self.record.steps | {name: self.record.steps.get(name, seconds)}
            )
        if now or time.monotonic() - self._written > _SECONDS_BETWEEN_RECORDS:
            self.write_record()

    def note(self, **fields: Any) -> None:
        """Note something in the record, and write it."""
        self.record = msgspec.structs.replace(self.record, **fields)
        self.write_record()

    def checkpoints(self) -> StoredCheckpoints:
        """The checkpoints of the run."""
        return StoredCheckpoints(
            self.work, f"{self.folder}/checkpoints", self.config.checkpoint.every, self.check_lease
        )

    def write_record(self) -> None:
        """Write the record, if there is one."""
        if self.is_recorded:
            self.check_lease()
            if not self.was_published:
                seconds = round(time.monotonic() - self._began, 3)
                self.record = msgspec.structs.replace(self.record, seconds=seconds)
            self.storage.replace(self.record.as_json(), RUNS, self.name, RUN_RECORD)
            self._written = time.monotonic()

    def end(self, state: State, exit_code: int, message: str = "") -> None:
        """Note how the run ended, and delete what nothing goes on with."""
        self.record = msgspec.structs.replace(self.record, state=state, exit_code=exit_code, message=message)
        # What an earlier attempt has built stays: another command may go on with it.
        is_useless = state == "refused" and not self.resumes
        is_over = state in ("published", "skipped") or exit_code == GateError.exit_code
        if is_over or is_useless or not self.config.run_name:
            delete_work(self.work, self.name)
        if is_useless and not self.config.run.id:
            delete_work(self.storage, self.name, all_of_it=True)
        else:
            self.write_record()


@contextmanager
def opened_run(
    spark: SparkSession,
    config: Config,
    storage: Storage,
    *,
    night: RetrainSettings | None = None,
    exclusive: bool = True,
) -> Iterator[Run]:
    """Hold the lease on a root, and a run below it, until the end of the ``with``, however it ends.

    ``night``: of a retraining all settings. Not ``exclusive``: the root is this run's, without lease and record.

    Raises
    ------
    ConfigError
        If the storage cannot be used, there is a model of this name, or a run of this name has other settings.
    HeldError
        If another run holds the lease.
    """
    run = _new_run(spark, config, storage, night)
    with stoppable(spark) as stop:
        stop.grace_seconds = config.checkpoint.grace_seconds
        if not exclusive:
            try:
                yield run
            finally:
                delete_work(run.work, run.name)
            return
        with held_lease(storage, run.name, config.lease, stop) as run.lease:
            fault_point("after_lease")
            run.is_recorded = True
            _begin(run, night or config, spark.version)
            try:
                yield run
            except BaseException as error:
                with suppress(*STORAGE_ERRORS):  # the first error is the one to read
                    _end_badly(run, stop.notice() or error)
                raise
            run.end(run.outcome, 0, run.record.message)
            fault_point("after_end")


def _new_run(spark: SparkSession, config: Config, storage: Storage, night: RetrainSettings | None) -> Run:
    created = datetime.now(timezone.utc)
    version = config.output.version or config.run.id or new_version_name(created)
    name = config.run.id or version
    work = Storage(spark, config.checkpoint.path) if config.checkpoint.path else storage
    record = RunRecord(
        run=name,
        version=version,
        started=created.isoformat(timespec="seconds"),
        written_by=written_by(spark.version),
        settings=settings_of_model(night or config),
        job="train" if night is None else "retrain",
    )
    return Run(storage, work, config, name, version, created, record)


def _begin(run: Run, recorded: Config, spark_version: str) -> None:
    """Find out what an earlier attempt has done, remove what is left of others, and note that this one has begun."""
    storage, config = run.storage, run.config
    try:
        earlier = _record_of(storage, run.name)
        is_done = earlier is not None and earlier.state == "published"
        if earlier is not None and config.checkpoint.resume != "never" and (config.run.id or not is_done):
            earlier.refuse_other(recorded, spark_version, storage.path(RUNS, run.name, RUN_RECORD))
        restored_current(storage)
        _refuse_or_complete(run, earlier)
        remove_remains(storage, run.work, run.name)
        if config.checkpoint.resume == "never" and not run.is_complete:
            delete_work(run.work, run.name)
            earlier = None
        if config.checkpoint.resume == "must" and earlier is None:
            raise ConfigError(
                f"checkpoint.resume = must: there is no run {run.name} below {quoted(storage.root)} to go on with; set "
                "run.id (or output.version) to the name of one, or checkpoint.resume = auto"
            )
        if earlier is not None:
            run.resumes = not run.is_complete
            run.was_published = earlier.state == "published"
            run.record = _continued(run, earlier)
        mark_work(storage, run.work, run.name)
        run.write_record()
    except STORAGE_ERRORS as error:
        raise_as_refused(error, f"output.path: {quoted(storage.root)} cannot be written")
    fault_point("after_run_record")


def _continued(run: Run, earlier: RunRecord) -> RunRecord:
    """The record of another attempt: a run that is done keeps what it says."""
    if earlier.state == "published":
        return msgspec.structs.replace(earlier, attempts=earlier.attempts + 1)
    again = {name: getattr(earlier, name) for name in ("warm_start", "align", "details")}
    return msgspec.structs.replace(run.record, attempts=earlier.attempts + 1, **again)


def _record_of(storage: Storage, name: str) -> RunRecord | None:
    if not storage.exists(RUNS, name, RUN_RECORD):
        return None
    return read_run_record(storage.read_text(RUNS, name, RUN_RECORD), storage.path(RUNS, name, RUN_RECORD))


def _refuse_or_complete(run: Run, earlier: RunRecord | None) -> None:
    """Find out whether the version is there already, and whether this run wrote it: then it is done, or nearly so."""
    storage, config = run.storage, run.config
    folder = version_folder(run.version)
    if not storage.exists(folder, MANIFEST):
        return
    of_run = read_manifest(storage.read_text(folder, MANIFEST), storage.path(folder, MANIFEST)).get("run")
    died_before_its_end = earlier is not None and earlier.state != "published"
    if of_run != run.name or not (config.run.id or died_before_its_end):
        refuse_existing(storage, run.version)
    run.is_complete = True
    if (earlier is None or died_before_its_end) and config.output.publish:
        run.check()
        serve(storage, run.version, unless_later_than=True)


def _end_badly(run: Run, error: BaseException) -> None:
    if isinstance(error, HeldError):
        return  # the root is another's now
    if isinstance(error, ConfigError | InputError | GateError):
        run.end("refused", error.exit_code, str(error))
    elif isinstance(error, InterruptedRunError | KeyboardInterrupt | SystemExit):
        run.end("interrupted", InterruptedRunError.exit_code, str(error))
    else:
        exit_code = error.exit_code if isinstance(error, WalsError) else WalsError.exit_code
        run.end("failed", exit_code, str(WalsError(f"{type(error).__name__}: {error}"))[:2000])
