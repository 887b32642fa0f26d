"""Executors, workers and Python workers that die, and tasks that Spark moves or copies: the model is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from standalone_training import TRAIN, factors

pytestmark = pytest.mark.exhaustive  # test_standalone.py kills one executor


def killed_at(cluster, process, lines, kill):
    """Call ``kill`` when the log of a job comes to each of some lines; the exit code, and the log."""
    log, remaining = "", list(lines)
    for line in process.stdout:
        log += line
        if remaining and remaining[0] in line:
            remaining.pop(0)
            kill()
    code, rest = cluster.finish(process)
    assert not remaining, log
    return code, log + rest


def kill_executor(cluster):
    end = time.monotonic() + 60
    while not (executors := cluster.executors()) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(executors[0], signal.SIGKILL)


def kill_python_workers(cluster):
    for executor in cluster.executors():
        daemons = subprocess.run(["pgrep", "-P", str(executor)], capture_output=True, text=True, check=False).stdout
        for daemon in daemons.split():
            subprocess.run(["pkill", "-9", "-P", daemon], check=False)


def kill_worker(cluster):
    """A worker, with its executor, as if a machine were gone; another one takes its place."""
    process = cluster.worker_processes.pop(0)
    for executor in subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True).stdout.split():
        os.kill(int(executor), signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    cluster.start_worker(1)


KILLED = {
    "three executors": (["half-iteration 2/8", "half-iteration 4/8", "half-iteration 6/8"], kill_executor),
    "in building blocks": (["INFO read "], kill_executor),
    "in writing": (["half-iteration 8/8"], kill_executor),
    "Python workers": (["half-iteration 3/8"], kill_python_workers),
    "a worker": (["half-iteration 3/8"], kill_worker),
}
MOVED = {
    "speculation": [
        "spark.speculation=true", "spark.speculation.interval=10ms", "spark.speculation.multiplier=1.01",
        "spark.speculation.quantile=0.01", "spark.speculation.minTaskRuntime=0ms",
        "spark.speculation.task.duration.threshold=1ms",
    ],
    "no waiting": ["spark.locality.wait=0"],
    "executors that come and go": [
        "spark.dynamicAllocation.enabled=true", "spark.dynamicAllocation.shuffleTracking.enabled=true",
        "spark.dynamicAllocation.cachedExecutorIdleTimeout=2s", "spark.dynamicAllocation.executorIdleTimeout=2s",
        "spark.dynamicAllocation.maxExecutors=2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", KILLED)
def test_what_is_killed_costs_time_and_nothing_else(cluster, interactions, local_factors, what):
    lines, kill = KILLED[what]
    version = what.replace(" ", "-")
    process = cluster.submit(TRAIN, *interactions, f"--set=output.version={version}", "--set=checkpoint.every=0")
    code, log = killed_at(cluster, process, lines, lambda: kill(cluster))
    assert code == 0, log
    assert factors(cluster, version) == local_factors


@pytest.mark.parametrize("how", MOVED)
def test_where_spark_runs_a_task_does_not_matter(cluster, interactions, local_factors, how):
    version = how.replace(" ", "-")
    process = cluster.submit(TRAIN, *interactions, f"--set=output.version={version}", conf=MOVED[how])
    code, log = cluster.finish(process)
    assert code == 0, log
    assert factors(cluster, version) == local_factors
