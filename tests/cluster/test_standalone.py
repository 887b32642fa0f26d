"""Training as a user submits it: the model of local mode, exit codes, a lost executor, the driver's memory."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from log_lines import CACHE_MISS, HEAVY_ROWS_OF_ITEMS, STARTED_AGAIN
from standalone_training import TRAIN, factors


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


def test_small_data_trains_where_no_folder_is_shared(cluster):
    program = Path(__file__).parent / "no_shared_folder.py"
    conf = ["spark.driver.extraJavaOptions=-Duser.home=/proc/nowhere"]  # in which no folder can be made
    code, log = cluster.finish(cluster.submit(program, str(cluster.folder / "no-shared"), conf=conf))
    assert code == 0, log
    found = json.loads(next(line for line in log.splitlines() if line.startswith('{"users"')))
    assert found["users"] == 60
    assert found["scores"][0] == pytest.approx(found["scores"][1])
    for refused in ("large", "folded"):
        assert found[refused].startswith("this needs a folder that driver and executors share"), found
    assert "driver and executors share no folder, so the model is kept in memory" in log


@pytest.mark.exhaustive
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
