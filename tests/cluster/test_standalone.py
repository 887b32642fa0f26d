"""Training as a user submits it: the model of local mode, exit codes, a lost executor, the driver's memory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_lines import CACHE_MISS, HEAVY_ROWS_OF_ITEMS, STARTED_AGAIN

TRAIN = Path(__file__).resolve().parents[2] / "jobs/train.py"


@pytest.fixture(scope="module")
def interactions(cluster):
    """The settings of a training on interactions with string and integer ids, some hundred rows of each side."""
    rng = np.random.default_rng(3)
    pairs = np.unique(np.stack([rng.integers(400, size=6000), rng.zipf(1.3, size=6000) % 150], axis=1), axis=0)
    table = pa.table(
        {
            "user": [f"user {u}" for u in pairs[:, 0]],
            "item": pairs[:, 1],
            "rating": rng.integers(1, 30, size=len(pairs)).astype(float),
        }
    )
    pq.write_table(table, cluster.folder / "interactions.parquet")
    return [
        f"--set={setting}"
        for setting in (
            "input.path=interactions.parquet", "output.path=standalone", "train.rank=8", "train.max_iter=4",
            "train.user_blocks=3", "train.item_blocks=2", "train.heavy_row_threshold=150",
        )
    ]  # fmt: skip


def factors(cluster, version):
    """The rows of both sides by (table, id)."""
    rows = {}
    for side in ("user_factors", "item_factors"):
        table = pq.read_table(cluster.folder / "standalone/versions" / version / side)
        ids, features = table["id"].to_pylist(), table["features"].to_pylist()
        rows |= {(side, i): row for i, row in zip(ids, features, strict=True)}
    return rows


@pytest.fixture(scope="module")
def local_factors(cluster, interactions):
    """The same training on local[2], under spark-submit as well."""
    command = [cluster.spark_submit, "--master", "local[2]", TRAIN, *interactions, "--set=output.version=local"]
    subprocess.run(command, cwd=cluster.folder, check=True, capture_output=True, timeout=400)
    return factors(cluster, "local")


def test_two_executors_train_the_model_of_local_mode(cluster, interactions, local_factors):
    code, log = cluster.finish(cluster.submit(TRAIN, *interactions, "--set=output.version=cluster"))
    assert code == 0, log
    assert factors(cluster, "cluster") == local_factors
    assert CACHE_MISS not in log
    assert HEAVY_ROWS_OF_ITEMS in log
    last = log.partition("half-iteration 7/8  ")[2].partition("half-iteration 8/8  ")[0]
    assert set(re.findall(r"Starting task .* \((127\.0\.0\.\d),", last)) == {"127.0.0.2", "127.0.0.3"}


def test_the_exit_code_of_a_job_is_that_of_spark_submit(cluster, interactions):
    code, log = cluster.finish(cluster.submit(TRAIN, *interactions, "--set=input.path=nowhere.parquet"))
    assert code == 3
    assert "error: input.path = 'nowhere.parquet'" in log
    code, log = cluster.finish(cluster.submit(TRAIN, *interactions, "--set=train.ranks=3"))
    assert code == 2
    assert "did you mean rank?" in log


def test_a_killed_executor_costs_time_and_nothing_else(cluster, interactions, local_factors):
    process = cluster.submit(TRAIN, *interactions, "--set=output.version=killed")
    log = ""
    for line in process.stdout:
        log += line
        if "half-iteration 3/8" in line:
            break
    os.kill(cluster.executors()[0], signal.SIGKILL)
    code, rest_of_log = cluster.finish(process)
    assert code == 0, log + rest_of_log
    assert STARTED_AGAIN in rest_of_log
    assert factors(cluster, "killed") == local_factors
    events = (cluster.folder / "standalone/versions/killed/events.jsonl").read_text().splitlines()
    assert [json.loads(line)["half_iteration"] for line in events] == list(range(1, 9))


@pytest.mark.slow
def test_the_drivers_memory_does_not_grow_with_the_users(cluster):
    program = Path(__file__).parent / "driver_memory.py"
    used, many = {}, 500_000
    for users in (10_000, many):
        process = cluster.submit(program, str(users), str(cluster.folder / f"work-{users}"))
        code, log = cluster.finish(process)
        assert code == 0, log
        used[users] = json.loads(next(line for line in log.splitlines() if line.startswith('{"users"')))
    print(used, file=sys.stderr)
    assert used[many]["users"] > 0.9 * many
    for part in ("python_mib", "jvm_mib"):
        # So many ids and rows of rank 8 are 20 MiB without any overhead; a list of them in Python is 150 MiB.
        assert used[many][part] - used[10_000][part] < 15, used
