"""wals_spark in the benchmark: the pipeline of `wals_spark.fit`, with a clock between its stages."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import SparkSession

from benchmarks.loss import ALPHA, REG_PARAM, Outcome, read_factors
from benchmarks.processes import n_cores, worker_memory_mib
from benchmarks.workload import FOLDER, WARM_UPS, Workload
from wals_spark.settings.train import Config
from wals_spark.spark.model.factor_tables import write_factors
from wals_spark.spark.prepared import Prepared, prepare
from wals_spark.spark.reading import read
from wals_spark.spark.session import open_session
from wals_spark.spark.training.recovery import train
from wals_spark.spark.training.state import Listeners, Trained
from wals_spark.spark.training.stored_blocks import Blocks

_WORK = FOLDER / "ours"


def train_ours(workload: Workload, settings: Mapping[str, Any]) -> Outcome:
    """Train on local Spark, from the table of interactions with its ids; ``settings`` differ from the defaults."""
    common = {
        "input.path": str(workload.path), "confidence.alpha": ALPHA, "train.reg_param": REG_PARAM,
        "confidence.function": "log", "train.unobserved_weight": 1.0, "train.unobserved_on": "missing",
        "train.reg_scaling": "count", "train.rank": workload.rank, "train.user_blocks": workload.blocks,
        "train.item_blocks": workload.blocks,
    }  # fmt: skip
    with open_session("bench", local_master=f"local[{n_cores()}]") as spark:
        for _ in range(WARM_UPS):
            warm_up = _run(spark, Config.of({**common, **settings, "train.max_iter": 2}))
            warm_up.trained.unpersist()
        run = _run(spark, Config.of({**common, **settings, "train.max_iter": workload.iterations}))
        record = _record(run, workload)
        _write_factors(run)
        run.trained.unpersist()
        record["worker_idle_mib"] = worker_memory_mib("VmRSS")
    return Outcome(record, read_factors(_WORK / "users"), read_factors(_WORK / "items"))


class _Run(NamedTuple):
    """A training; ``seconds`` from its start to the blocks, and to the end of each half-iteration."""

    prepared: Prepared
    trained: Trained
    seconds: list[float]
    peak_mib_building_blocks: float


def _run(spark: SparkSession, config: Config) -> _Run:
    worker_memory_mib("VmHWM", reset_peak=True)
    began = time.perf_counter()
    prepared = prepare(read(spark, config.input), config, str(_WORK / "blocks"))
    chosen = prepared.resolved(config)
    objectives = prepared.objectives(chosen)
    seconds = [time.perf_counter() - began]
    peak_mib = worker_memory_mib("VmHWM", reset_peak=True)
    listeners = Listeners(on_half_iteration=lambda _: seconds.append(time.perf_counter() - began))
    trained = train(prepared.blocks, objectives, chosen.train, listeners)
    return _Run(prepared, trained, seconds, peak_mib)


def _record(run: _Run, workload: Workload) -> dict[str, Any]:
    """The fields of a record, with those that only wals_spark has."""
    events, seconds = run.trained.events, run.seconds
    # From the second iteration to the last but one: the first reads blocks, the last solves exactly.
    per_iteration = np.diff(np.array(seconds)[2 : 2 * workload.iterations - 1 : 2])
    in_kernels = [
        first.solve_seconds + second.solve_seconds for first, second in zip(events[2:-2:2], events[3:-2:2], strict=True)
    ]
    return {
        "prepare_seconds": seconds[0],
        "seconds_per_iteration": statistics.median(per_iteration),
        "kernel_seconds_per_iteration": statistics.median(in_kernels) / n_cores(),
        "seconds": seconds[-1],
        "worker_peak_mib_building_blocks": run.peak_mib_building_blocks,
        "worker_peak_mib": worker_memory_mib("VmHWM"),
        "worker_data_mib": _task_data_mib(run.prepared.blocks, workload.rank),
        "slowest_task_seconds": max(event.slowest_solve_seconds for event in events[2:-2]),
        "curve": [[at, event.loss.total] for at, event in zip(seconds[1:], events, strict=True)],
    }


def _task_data_mib(blocks: Blocks, rank: int) -> float:
    """What the larger task of a half-iteration holds at least: its in-block, and the rows it receives and solves."""
    bytes_per_row, sides = 4 * rank, (blocks.users, blocks.items)
    of_sides = [
        blocks.counts.observations / solved.n_blocks * 4 + bytes_per_row * (fixed.rows + solved.rows / solved.n_blocks)
        for solved, fixed in (sides, sides[::-1])
    ]
    return float(max(of_sides)) / 2**20


def _write_factors(run: _Run) -> None:
    blocks, trained = run.prepared.blocks, run.trained
    for side, factors in ((blocks.users, trained.user_factors), (blocks.items, trained.item_factors)):
        path = _WORK / side.name
        shutil.rmtree(path, ignore_errors=True)
        write_factors(side, factors, str(path))
