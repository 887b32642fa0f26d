"""Trains small data in one task: a few Spark jobs and not a few per iteration, which would take all the time."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float64Array
from wals_spark.blocks.assignment import N_BUCKETS, assign_by_cost
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Loss
from wals_spark.run.convergence import refuse_rising_loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.schedule import last_solver, solver_of
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.train import Config
from wals_spark.spark.checking import judged_rows
from wals_spark.spark.plans import counted_rows, expected_bytes, n_partitions
from wals_spark.spark.prepared import Prepared
from wals_spark.spark.reading import unreadable_is_refused
from wals_spark.spark.session import is_local
from wals_spark.spark.training.blas_threads import warn_of_blas_threads
from wals_spark.spark.training.build import refuse_duplicates
from wals_spark.spark.training.one_task import RESULTS, TrainingTask, build_both_sides, train_blocks
from wals_spark.spark.training.sides import SCHEMA
from wals_spark.spark.training.stored_blocks import BlockPlan, summarized_blocks

logger = logging.getLogger("wals_spark")

MAX_ROWS = 1_000_000
"""Interactions that one task trains on: at rank 64, an iteration of them takes a core as long as Spark's two jobs."""

_MAX_NUMBERS = 64_000_000  # interactions times the rank
_MAX_TABLE_BYTES = 64 * 2**20  # of both factor tables, which pass through the driver
_BYTES_PER_ROW = 128  # of a source with more columns than the three that are read
_MAX_PARTITIONS = 16  # of unknown size, each of which may send `MAX_ROWS`


def may_be_small(raw: DataFrame, config: Config) -> bool:
    """Whether one task might train on a table, by what Spark expects of its size, and by the settings."""
    train = config.train
    if (
        train.user_blocks not in (0, 1)
        or train.item_blocks not in (0, 1)
        or config.confidence.item_weight != "none"
        or config.confidence.half_life_days
    ):
        return False
    rows = counted_rows(raw)
    if rows is not None:
        return rows <= MAX_ROWS
    size = expected_bytes(raw)
    if size is not None:
        return size <= _BYTES_PER_ROW * MAX_ROWS
    if is_local(raw.sparkSession):
        return True  # at worst, this machine's rows are shuffled once for nothing
    partitions = n_partitions(raw)
    return partitions is not None and partitions <= _MAX_PARTITIONS


@dataclass(frozen=True)
class SmallTrained:
    """A training that is over: its events, why it ended, and the tables: Parquet files and Gramians, by side."""

    events: list[HalfIteration]
    stopped_by: str
    weights: Histogram
    gramians: dict[str, Float64Array]
    tables: dict[str, list[bytes]]


class SmallData:
    """The blocks of small data, persisted, to train on once or several times."""

    def __init__(self, records: DataFrame, prepared: Prepared) -> None:
        self.prepared = prepared
        self._records = records

    def fits(self, config: ResolvedConfig) -> bool:
        """Whether one task trains a model with these settings in a fair time, and its tables may pass the driver."""
        blocks, width = self.prepared.blocks, config.train.width
        is_quick = blocks.counts.observations * width <= _MAX_NUMBERS
        return is_quick and 4 * width * (blocks.users.rows + blocks.items.rows) <= _MAX_TABLE_BYTES

    def train(self, config: ResolvedConfig) -> SmallTrained:
        """Train on the blocks.

        Raises
        ------
        TrainingError
            If the loss rises or a row has no finite solution.
        """
        train, began = config.train, time.perf_counter()
        planned = 2 * train.max_iter
        task = TrainingTask(
            self.prepared.objectives(config),
            train.start_options,
            train.first_side,
            tuple(solver_of(train, number) for number in range(1, planned + 1)),
            last_solver(train),
            train.tol,
        )
        spark = self._records.sparkSession
        spark.sparkContext.setJobDescription(f"train: {planned} half-iterations in one task")
        results: dict[str, list[bytes]] = {}
        for row in self._records.mapInArrow(partial(train_blocks, task=task), RESULTS).collect():
            results.setdefault(row["name"], []).append(bytes(row["payload"]))
        start = json.loads(results["start"][0])
        warn_of_blas_threads(spark.sparkContext, start["blas_threads"])
        events = _events(results, config, start["constant"], time.perf_counter() - began)
        gramians = {side: _square(results[f"gramian/{side}"][0]) for side in ("users", "items")}
        tables = {side: results[f"table/{side}"] for side in ("users", "items")}
        stopped_by = results.get("stopped_by", [b"max_iter"])[0].decode()
        return SmallTrained(events, stopped_by, Histogram.from_record(start["weights"]), gramians, tables)


@contextmanager
def small_data(raw: DataFrame, config: Config) -> Iterator[SmallData | None]:
    """Check interactions and build their blocks in one pass, and persist these until the end of the ``with``.

    Yields None if that takes more than one pass: there are too many rows, or some that are bad or suspect.

    Raises
    ------
    InputError
        If a column is missing or of the wrong type, or duplicates are refused and there are any.
    """
    spark, source = raw.sparkSession, config.input
    spark.sparkContext.setJobDescription("check the interactions and build blocks")
    items_to_blocks = assign_by_cost(np.zeros(N_BUCKETS, dtype=np.int64), 1)
    build = partial(build_both_sides, items_to_blocks=items_to_blocks, duplicates=source.duplicates, max_rows=MAX_ROWS)
    with unreadable_is_refused(source, "input"):
        rows = judged_rows(raw, source, implicit=config.train.implicit)
        # One partition: Spark removes a limit, and its shuffle to one, where it knows that there are no more rows.
        records = rows.limit(MAX_ROWS + 1).coalesce(1).mapInArrow(build, SCHEMA).persist()
    try:
        with unreadable_is_refused(source, "input", writing=True):
            stored = records.where(F.col("name") == "summary").select("kind", "payload").collect()
        summaries = {row["kind"].partition("/")[0]: [json.loads(bytes(row["payload"]))] for row in stored}
        if set(summaries) != {"users", "items"}:
            yield None
            return
        logger.info("read %s rows of the DataFrame", f"{summaries['users'][0]['interactions']:,}")
        refuse_duplicates(source.duplicates, summaries["users"])
        types = {side: rows.schema[side.removesuffix("s")].dataType for side in ("users", "items")}
        plan = BlockPlan({"users": 1, "items": 1}, types, items_to_blocks)
        prepared = Prepared(summarized_blocks(spark, "", plan, summaries), dropped=0)
        yield SmallData(records.where(F.col("name") != "summary"), prepared)
    finally:
        records.unpersist()


def _events(
    results: dict[str, list[bytes]], config: ResolvedConfig, constant: float, seconds: float
) -> list[HalfIteration]:
    """The half-iterations, each judged as in a large training; what was solved again replaces what it was before."""
    planned, events = 2 * config.train.max_iter, {}
    records = [json.loads(payload) for payload in results.get("half_iteration", [])]
    for record in records:
        solving = record["seconds"]
        events[record["number"]] = HalfIteration(
            record["number"], planned, record["side"], record["rows"], solving, Loss(*record["loss"]), solving, solving
        )
        refuse_rising_loss([*events.values()], config.train.solver, constant=constant)
    for payload in results.get("failure", []):
        failure = json.loads(payload)
        raise TrainingError(
            f"half-iteration {failure['number']}/{planned}: {failure['side'][:-1]} {failure['id']!r} cannot be solved: "
            f"{failure['failure']}. Raise train.reg_param, or look for extreme ratings of it"
        )
    logger.info(
        "%d half-iterations in one task, %.2f s; loss %.2f", len(events), seconds, events[len(events)].loss.total
    )
    return [*events.values()]


def _square(matrix: bytes) -> Float64Array:
    numbers = np.frombuffer(matrix, dtype=np.float64)
    width = round(len(numbers) ** 0.5)
    return numbers.reshape(width, width)
