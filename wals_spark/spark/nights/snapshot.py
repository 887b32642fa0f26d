"""Tonight's interactions, checked and kept on storage until the night ends: what is trained on, and the test.

Everything after the check reads them, so that a source that is written to meanwhile, or read again after a kill, gives
no other night.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.blocks.assignment import N_BUCKETS
from wals_spark.errors import InputError
from wals_spark.nights.data_figures import DataFigures
from wals_spark.run.faults import fault_point
from wals_spark.run.sealed import read_sealed, sealed_json
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.spark.checking import Interactions, check, weighed_by_age
from wals_spark.spark.prepared import CheckedTables
from wals_spark.spark.reading import read, unreadable_is_refused
from wals_spark.spark.runs import Run

logger = logging.getLogger("wals_spark")

_FOLDER, _INDEX = "interactions", "index.json"
_TEST, _TRAINING = "test", "training"
_SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Snapshot:
    """Checked interactions (user, item, rating[, weight], timestamp) below ``path``, in two parts.

    ``data`` are their figures, ``moment`` is when the test begins, in seconds since 1970.
    """

    spark: SparkSession
    path: str
    columns: tuple[str, ...]
    data: DataFigures
    moment: float
    newest_of_training: float

    @property
    def training(self) -> DataFrame:
        """The rows before the moment."""
        return self._part(_TRAINING)

    @property
    def test(self) -> DataFrame:
        """The rows from the moment on."""
        return self._part(_TEST)

    def to_train_on(self, settings: RetrainSettings) -> CheckedTables:
        """The training part as `prepare_run` takes it: ratings decayed, rows counted."""
        training, decay = settings.training, settings.training.decay()
        keep_time = training.input.duplicates == "last"
        table = weighed_by_age(self.training, decay, self.newest_of_training, keep_time=keep_time)
        hashed = tuple(name for name in self.columns if name in table.columns and not (decay and name == "rating"))
        nothing = np.zeros(N_BUCKETS, dtype=np.int64)
        return CheckedTables(Interactions(table, 0, self.data.dropped, nothing, 0, hashed).with_rows(table))

    def _part(self, name: str) -> DataFrame:
        return self.spark.read.parquet(f"{self.path}/part={name}").select(*self.columns)


def kept_snapshot(run: Run) -> Snapshot | None:
    """What an earlier attempt has kept, if it is whole."""
    work, folder = run.work, f"{run.folder}/{_FOLDER}"
    if not work.exists(folder, _INDEX):
        return None
    try:
        document = read_sealed(work.read_text(folder, _INDEX), work.path(folder, _INDEX))
    except InputError as error:
        logger.warning("the interactions are read again: %s", error)
        return None
    files = {path: size for path, size in work.list_files(folder).items() if path != _INDEX}
    if files != document["files"]:
        logger.warning("the interactions are read again: files of %s are missing", work.path(folder))
        return None
    return _of(run, document)


def checked_interactions(run: Run, settings: RetrainSettings) -> Interactions:
    """Read and check tonight's interactions.

    Raises
    ------
    ConfigError, InputError
        If they cannot be used.
    """
    run.step("read and check")
    spark, source = run.storage.spark, settings.input
    interactions = check(read(spark, source), source, implicit=settings.train.implicit, timed=True)
    logger.info("read %s rows of %s", f"{interactions.rows:,}", source.named("input"))
    fault_point("after_check")
    return interactions


def beginning_of_test(interactions: Interactions, settings: RetrainSettings) -> float:
    """The moment after which rows are the test, in seconds since 1970."""
    return interactions.times[1] - settings.split.days * _SECONDS_PER_DAY


def take_snapshot(run: Run, settings: RetrainSettings, interactions: Interactions, data: DataFigures) -> Snapshot:
    """Keep checked interactions, in two parts, and what is known of them; they are read again.

    Raises
    ------
    InputError
        If the source has changed since it was checked, or none of the rows is older than the test.
    """
    run.step("split")
    spark, source, work = run.storage.spark, settings.input, run.work
    work.delete_tree(run.folder, _FOLDER)
    path, moment = work.path(run.folder, _FOLDER), beginning_of_test(interactions, settings)
    part = F.when(F.col("timestamp") > moment, _TEST).otherwise(_TRAINING)
    spark.sparkContext.setJobDescription("keep tonight's interactions")
    with unreadable_is_refused(source, "input", writing=True):
        interactions.table.withColumn("part", part).write.partitionBy("part").parquet(path)
    counts = _counts(spark, path)
    if sum(rows for rows, _ in counts.values()) != interactions.rows:
        raise InputError(f"{source.named('input')} changed while it was read: run again when nothing writes to it")
    if _TRAINING not in counts:
        raise InputError(
            f"split.days = {settings.split.days}: all {interactions.rows:,} rows are of the test, so there is nothing "
            "to train on; is a longer history missing?"
        )
    document = {
        "format": "wals_spark interactions",
        "columns": [name for name in interactions.table.columns if name != "part"],
        "moment": moment,
        "newest_of_training": counts[_TRAINING][1],
        "data": data.as_record(),
        "rows": {name: rows for name, (rows, _) in counts.items()},
        "files": work.list_files(run.folder, _FOLDER),
    }
    work.force(run.folder, _FOLDER)
    work.replace(sealed_json(document), run.folder, _FOLDER, _INDEX)
    fault_point("after_snapshot")
    return _of(run, document)


def _of(run: Run, document: dict[str, Any]) -> Snapshot:
    return Snapshot(
        run.storage.spark,
        run.work.path(run.folder, _FOLDER),
        tuple(document["columns"]),
        msgspec.convert(document["data"], DataFigures),
        document["moment"],
        document["newest_of_training"],
    )


def _counts(spark: SparkSession, path: str) -> dict[str, tuple[int, float]]:
    """The rows of each part, and their newest time."""
    extent = (F.count("*").alias("rows"), F.max("timestamp").alias("newest"))
    rows = spark.read.parquet(path).groupBy("part").agg(*extent).collect()
    return {row["part"]: (row["rows"], row["newest"]) for row in rows}
