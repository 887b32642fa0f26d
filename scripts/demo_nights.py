"""The demo of nights: a model that is retrained on data that arrives day by day, one night's of which are poisoned."""

from __future__ import annotations

import io
import logging
import shutil
import time
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from wals_spark import open_session
from wals_spark.local.synthetic import Listening, synthetic_listening
from wals_spark.run.run_record import RunRecord, read_run_record
from wals_spark.settings.loader import load_settings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.spark.job import exit_code_of
from wals_spark.spark.nights.retrain import run_retrain

FOLDER = Path("build/demo/nights")
POISONED = 3
DAYS_BEFORE = 20
_DAY = 86400.0

console = Console(highlight=False, width=max(120, Console().width))


def nights_demo(nights: int) -> None:
    """Run so many nights in one Spark session, and show what each did and why."""
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    history = synthetic_listening(pairs_per_user=60)
    last_day = time.time() // _DAY
    days = np.random.default_rng(0).uniform(0.0, DAYS_BEFORE + nights, len(history.users))
    times = (last_day - DAYS_BEFORE - nights + days) * _DAY
    console.print(
        f"\n[bold]Data[/]: {len(times):,} plays of {DAYS_BEFORE + nights} days. Each night reads those so far, in "
        f"{FOLDER}/plays.parquet, and runs what cron would:\n\n"
        f"  python jobs/retrain.py --config conf/retrain.toml --set run.id=night-1\n"
    )
    records = []
    with open_session("wals_spark demo of nights") as spark:
        logging.getLogger("wals_spark").setLevel(logging.ERROR)
        for night in range(1, nights + 1):
            arrived = days < DAYS_BEFORE + night
            _write(history, times, arrived, poisoned=night == POISONED)
            records.append(_pass(spark, f"night-{night}"))
            console.print(f"  {records[-1].run}: {records[-1].state}, {records[-1].seconds:.0f} s")
    console.print(_table(records))
    console.print(
        f"Served: [bold]{(FOLDER / 'model/CURRENT').read_text().strip()}[/]. What happened is in {FOLDER}/model/runs, "
        f"what was served when in {FOLDER}/model/history. Next:\n\n"
        f"  .venv/bin/python jobs/status.py --set model.path={FOLDER}/model\n"
        f"  .venv/bin/python jobs/publish.py --set model.path={FOLDER}/model --rollback\n\n"
        f"Done in {time.monotonic() - began:.0f} s.\n"
    )


def _write(history: Listening, times: np.ndarray, arrived: np.ndarray, *, poisoned: bool) -> None:
    """The plays that have arrived; of a poisoned night two in a hundred, as of an upload that broke off."""
    rows = np.flatnonzero(arrived)
    if poisoned:
        rows = rows[::50]
    columns = {
        "listener": history.users[rows], "album": history.items[rows], "plays": history.plays[rows], "at": times[rows],
    }  # fmt: skip
    pq.write_table(pa.table(columns), FOLDER / "plays.parquet")


def _pass(spark: SparkSession, name: str) -> RunRecord:
    """One night; its record."""
    # Nights of the demo are minutes apart and their data days, so the data of all but the last is old.
    settings = load_settings(RetrainSettings, "conf/retrain.toml", [f"run.id={name}", "data.max_age_hours=0"])
    with redirect_stderr(io.StringIO()):  # the record has the error, too
        exit_code_of(partial(run_retrain, spark, settings))
    path = FOLDER / "model/runs" / name / "run.json"
    return read_run_record(path.read_text(encoding="utf-8"), str(path))


def _table(records: list[RunRecord]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for column in ("night", "rows", "exit code", "NDCG@20", "change", "what it did, and why"):
        table.add_column(column, justify="left" if column in ("night", "what it did, and why") else "right")
    for record in records:
        data, gate = record.details.get("data", {}), record.details.get("gate", {})
        served = gate.get("served") or {}
        table.add_row(
            record.run,
            f"{data['rows']:,}" if data else "",
            str(record.exit_code),
            f"{gate['candidate']:.4f}" if gate else "",
            f"{served['difference'] / served['value']:+.1%}" if served else "",
            record.message.partition(";")[0] or _why(record),
        )
    return table


def _why(record: RunRecord) -> str:
    start = f"started from {record.warm_start}" if record.warm_start else "started cold"
    return f"{start}; passed the gate; served"
