from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pyarrow as pa
import pytest
from objectives import train_settings
from run_jobs import environment_without_java

from wals_spark.solvers.start import start_factors

pytest.importorskip("optuna", reason="the extra tune")

TUNE = str(Path(__file__).resolve().parents[2] / "jobs/tune.py")
N_USERS, N_ITEMS, K = 30, 12, 3
RNG = np.random.default_rng(5)
SEEN = RNG.random((N_USERS, N_ITEMS)) < 0.3
SEEN[np.arange(N_USERS), RNG.integers(N_ITEMS, size=N_USERS)] = True
SEEN[RNG.integers(N_USERS, size=N_ITEMS), np.arange(N_ITEMS)] = True
WANTED = (RNG.random((N_USERS, N_ITEMS)) < 0.2) & ~SEEN
SETTINGS = """
[input]
path = "train.csv"
format = "csv"
options = { header = "true" }
rating = ""
[test]
path = "test.csv"
[train]
rank = 2
max_iter = 1
solver = "cholesky"
first_side = "users"
user_blocks = 1
item_blocks = 1
unobserved_weight = 1.0
unobserved_on = "missing"
reg_scaling = "count"
[tune]
metric = "recall@3"
pruner = "none"
[tune.space.train]
reg_param = { low = 0.01, high = 10.0, log = true }
[tune.space.confidence]
alpha = { low = 1.0, high = 100.0, log = true }
[output]
path = "tuning"
"""


@pytest.fixture
def command(tmp_path):
    """How a user starts the search, in a folder with its files."""
    for name, pairs in (("train", SEEN), ("test", WANTED)):
        lines = ["user,item", *(f"u{u:02d},i{i:02d}" for u, i in np.argwhere(pairs))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "tune.toml").write_text(SETTINGS)
    return [sys.executable, TUNE, "--config", "tune.toml"]


def recall(reg_param, alpha):
    """Recall@3 of the factors of one iteration, by dense arithmetic and plain loops."""
    c, p, _ = oracle.dense((N_USERS, N_ITEMS), *np.nonzero(SEEN), np.ones(SEEN.sum()), "log", alpha, 1.0)
    ids = pa.array([f"i{i:02d}" for i in range(N_ITEMS)])
    y = start_factors(ids, train_settings(rank=2).start_options, side="items").astype(np.float64)
    x = oracle.solve(c, p, oracle.diagonal(SEEN, reg_param, "count"), y)
    y = oracle.solve(c.T, p.T, oracle.diagonal(SEEN.T, reg_param, "count"), x)
    recalls = []
    for user in np.flatnonzero(WANTED.any(axis=1)):
        order = np.argsort(-np.where(SEEN[user], -np.inf, x[user] @ y.T))
        recalls.append(WANTED[user, order[:K]].sum() / WANTED[user].sum())
    return np.mean(recalls)


def assert_values_are_those_of_dense_arithmetic(trials):
    for trial in trials:
        settings = trial["settings"]
        assert trial["value"] == pytest.approx(recall(settings["train.reg_param"], settings["confidence.alpha"]))


def trials_in(folder):
    """What the leaderboard has, best first."""
    return json.loads((folder / "tuning/leaderboard.json").read_text())["trials"]


@pytest.mark.slow
def test_a_search_ranks_its_trials_by_the_metric(command, run_job, tmp_path):
    done = run_job("tune", "tune.trials=2", config="tune.toml")
    assert done.returncode == 0, done.stderr
    trials = trials_in(tmp_path)
    assert sorted(trial["number"] for trial in trials) == [0, 1]
    values = [trial["value"] for trial in trials]
    assert values == sorted(values, reverse=True)
    assert_values_are_those_of_dense_arithmetic(trials)
    assert "<h2>Leaderboard</h2>" in (tmp_path / "tuning/report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "tuning/_work").exists()


@pytest.mark.exhaustive
def test_a_killed_search_continues_with_the_next_trial(command, run_job, tmp_path):
    trials = 10
    process = subprocess.Popen(
        [*command, "--set", f"tune.trials={trials}"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if f"trial 4/{trials}" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    before = trials_in(tmp_path)
    assert 4 <= len(before) < trials
    assert (tmp_path / "tuning/_work").exists()  # it did die in the middle

    done = run_job("tune", f"tune.trials={trials}", config="tune.toml")
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} trials are on file:" in done.stderr
    assert f"trial {len(before)}/{trials} " not in done.stderr
    assert f"trial {trials}/{trials} " in done.stderr
    assert not (tmp_path / "tuning/_work").exists()
    after = trials_in(tmp_path)
    assert sorted(trial["number"] for trial in after) == list(range(trials))
    for trial in before:  # as it was, its seconds too: not run again
        assert {**trial, "place": 0} in [{**other, "place": 0} for other in after]
    assert_values_are_those_of_dense_arithmetic(after)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tune.metric=ndgc@10", "tune.metric = ndgc@10: there is no such metric; known, with k from 1: recall@k, "),
        ("tune.space.train.rnak.low=1", "tune.space: unknown setting train.rnak; did you mean rank?"),
    ],
)
def test_a_refusal_is_one_line_before_spark_starts(command, tmp_path, setting, message):
    done = subprocess.run(
        [*command, "--set", setting], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment_without_java(),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1
