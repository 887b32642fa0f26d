"""Reads how a model fares from its root, and prints it; changes nothing."""

from __future__ import annotations

import logging

from pyspark.sql import SparkSession

from wals_spark.errors import InputError
from wals_spark.messages import quoted
from wals_spark.nights.status import Status
from wals_spark.run.run_record import RunRecord, read_run_record
from wals_spark.settings.status import StatusSettings
from wals_spark.spark.model.history import last_entry, served_version
from wals_spark.spark.remains import RUN_RECORD, RUNS, VERSIONS
from wals_spark.spark.storage import Storage

logger = logging.getLogger("wals_spark")


def run_status(spark: SparkSession, settings: StatusSettings) -> None:
    """Print how the model that the settings name fares."""
    status = status_of(Storage(spark, settings.model.path), settings.status.nights)
    print(status if settings.status.format == "text" else status.prometheus())


def status_of(storage: Storage, nights: int) -> Status:
    """The status of a root, with its last runs.

    Raises
    ------
    InputError
        If there is nothing.
    """
    if not storage.exists(VERSIONS) and not storage.exists(RUNS):
        raise InputError(f"model.path = {quoted(storage.root)}: there are neither versions nor runs in it")
    sizes = {name: sum(storage.list_files(VERSIONS, name).values()) for name in storage.names(VERSIONS)}
    return Status(
        storage.root,
        last_entry(storage),
        served_version(storage),
        _last_runs(storage, nights),
        {**sizes, RUNS: sum(storage.list_files(RUNS).values())},
    )


def _last_runs(storage: Storage, number: int) -> list[RunRecord]:
    records = []
    for name in storage.names(RUNS):
        where = (RUNS, name, RUN_RECORD)
        if storage.exists(*where):
            try:
                records.append(read_run_record(storage.read_text(*where), storage.path(*where)))
            except InputError as error:
                logger.warning("%s", error)
    return sorted(records, key=lambda record: (record.started, record.run), reverse=True)[:number]
