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
import pyarrow.parquet as pq
import pytest
from objectives import train_settings
from run_jobs import environment_without_java

from wals_spark.solvers.start import start_factors

TRAIN = str(Path(__file__).resolve().parents[2] / "jobs/train.py")

USERS = ["Zoë", "0", "日本", "one item"]
ITEMS = ["everyone has it", "b", "c,d", "e"]
CELLS = {(0, 0): 2.0, (0, 1): 1.0, (1, 0): 5.5, (1, 2): 1.0, (2, 0): 1.0, (2, 1): 3.0, (2, 3): 352_698.0, (3, 0): 4.0}


@pytest.fixture
def interactions(tmp_path):
    """A CSV with a header, quoted text, a duplicate pair and its columns under other names."""
    lines = ["listener,album,plays"]
    lines += [f'"{USERS[u]}","{ITEMS[i]}",{r}' for (u, i), r in CELLS.items() if (u, i) != (0, 0)]
    lines += [f'"{USERS[0]}","{ITEMS[0]}",0.5', f'"{USERS[0]}","{ITEMS[0]}",1.5']
    (tmp_path / "plays.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [
        "input.path=plays.csv", "input.format=csv", "input.options.header=true",
        "input.user=listener", "input.item=album", "input.rating=plays", "output.path=model",
    ]  # fmt: skip


PLAIN = (
    "train.rank=3", "train.max_iter=4", "train.solver=cholesky", "train.first_side=users", "train.reg_param=1",
    "train.reg_scaling=count", "train.unobserved_weight=1", "train.unobserved_on=missing", "confidence.alpha=10",
    "confidence.epsilon=1", "train.relaxation=1",  # tests/spark has relaxed loops
)  # fmt: skip


def read_factors(path):
    table = pq.read_table(path)
    return dict(zip(table["id"].to_pylist(), table["features"].to_pylist(), strict=True))


def test_a_published_model_is_read_by_pyarrow_alone(run_train, interactions, tmp_path):
    done = run_train(*interactions, *PLAIN, "output.version=v1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model/CURRENT").read_text() == "v1\n"
    model = tmp_path / "model/versions/v1"
    assert sorted(path.name for path in model.iterdir()) == [
        "events.jsonl", "gramians.json", "item_factors", "manifest.json", "report.html", "user_factors",
    ]  # fmt: skip

    users, items = read_factors(model / "user_factors"), read_factors(model / "item_factors")
    (rows, columns), ratings = zip(*CELLS, strict=True), list(CELLS.values())
    c, p, seen = oracle.dense((4, 4), rows, columns, ratings, "log", 10.0, 1.0)
    y = start_factors(pa.array(ITEMS), train_settings(rank=3).start_options, side="items").astype(np.float64)
    penalties = oracle.diagonal(seen, 1.0, "count"), oracle.diagonal(seen.T, 1.0, "count")
    for _ in range(4):
        x = oracle.solve(c, p, penalties[0], y)
        y = oracle.solve(c.T, p.T, penalties[1], x)
    np.testing.assert_allclose([users[i] for i in USERS], x, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose([items[i] for i in ITEMS], y, rtol=1e-3, atol=1e-3)

    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["counts"] == {
        "users": 4, "items": 4, "observations": 8, "duplicates_merged": 1, "rows_dropped": 0,
    }  # fmt: skip
    events = [json.loads(line) for line in (model / "events.jsonl").read_text().splitlines()]
    assert [event["half_iteration"] for event in events] == list(range(1, 9))
    expected = oracle.loss(c, p, [users[i] for i in USERS], [items[i] for i in ITEMS], penalties)
    assert events[-1]["loss"] == manifest["loss"]["total"] == pytest.approx(expected, rel=1e-6)
    assert "half-iteration 8/8  items  loss" in done.stderr
    assert manifest["degrees"]["users"]["rows"] == [1, 3]  # of one observation, of two or three
    assert list(manifest["seconds"]) == ["read and check", "build blocks", "train", "write"]
    assert "<h2>Loss by half-iteration</h2>" in (model / "report.html").read_text(encoding="utf-8")

    again = run_train(*interactions, "output.version=v1")
    assert again.returncode == 2
    assert "error: output.version = v1: " in again.stderr
    assert "is a complete model and stays" in again.stderr
    assert read_factors(model / "user_factors") == users


@pytest.mark.slow
def test_biases_and_the_mean_are_in_the_model_and_in_its_log(run_train, interactions, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.endswith("_NUM_THREADS")]:
        monkeypatch.delenv(name)
    explicit = ("train.implicit=false", "train.biases=true", "train.global_mean=true", "input.duplicates=sum")
    done = run_train(*interactions, *explicit, "train.rank=2", "train.max_iter=30", "output.version=v1")
    assert done.returncode == 0, done.stderr
    model = tmp_path / "model/versions/v1"
    users, items = read_factors(model / "user_factors"), read_factors(model / "item_factors")
    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["score"] == {
        "formula": "global_mean + dot(user, item)",
        "global_mean": pytest.approx(sum(CELLS.values()) / len(CELLS)),
        "length": 4,
        "biases": {"users": 2, "items": 3},
    }
    assert {row[3] for row in users.values()} == {row[2] for row in items.values()} == {1.0}
    assert "objective: weight of a rating r: 1; target r - mean; unobserved pairs do not count" in done.stderr
    assert "weights of 8 observations: min 1, " in done.stderr
    assert "    mllib-explicit  reg_param " in done.stderr
    assert "BLAS" not in done.stderr  # one thread per task where the environment says nothing


@pytest.mark.slow
def test_more_blas_threads_than_cores_per_task_are_warned_of(run_train, interactions, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    done = run_train(*interactions, "train.rank=2", "train.max_iter=1")
    assert done.returncode == 0, done.stderr
    assert "BLAS runs 2 threads in a task that has 1 core(s)" in done.stderr
    assert "Set OPENBLAS_NUM_THREADS" in done.stderr


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("train.rnak=3", 2, "unknown setting train.rnak; did you mean rank?"),
        ("input.path=nowhere.csv", 3, "input.path = 'nowhere.csv' (format csv) cannot be read"),
        (
            "input.rating=stars",
            3,
            "input.rating = 'stars': there is no such column; the input has 'listener', 'album', 'plays'",
        ),
        ("input.duplicates=refuse", 3, "1 rows repeat a (user, item) pair, such as ('Zoë', 'everyone has it')"),
    ],
)
def test_a_refusal_is_one_line_an_exit_code_and_no_model(run_train, interactions, tmp_path, setting, code, message):
    done = run_train(*interactions, setting)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.strip().splitlines()[-1]
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.glob("model/versions/*/*")} <= {"events.jsonl"}
    assert not (tmp_path / "model/CURRENT").exists()


def test_settings_are_listed_and_refused_without_spark(interactions):
    def run(*options):
        command = [sys.executable, TRAIN, *options]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=environment_without_java()
        )

    listed = run("--help")
    assert listed.returncode == 0
    assert 'train.reg_param = "auto"' in listed.stdout
    assert "5 held by another run (retry later), 143 interrupted (retry)" in listed.stdout
    refused = run("--set=train.rnak=3")
    assert refused.returncode == 2
    assert "did you mean rank?" in refused.stderr
    started = run(*(f"--set={setting}" for setting in interactions))
    assert started.returncode == 1
    assert "JAVA_GATEWAY_EXITED" in started.stderr  # so Spark cannot start here


@pytest.mark.exhaustive  # tests/faults has more of them
def test_a_killed_run_leaves_no_model_and_the_next_one_succeeds(run_train, interactions, tmp_path):
    settings = [*interactions, "train.rank=3", "output.version=nightly"]
    command = [sys.executable, TRAIN, *(f"--set={s}" for s in [*settings, "train.max_iter=5000"])]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if "half-iteration" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    version, run = tmp_path / "model/versions/nightly", tmp_path / "model/runs/nightly"
    assert (run / "blocks/index.json").exists()  # it did die in the middle
    assert not (version / "manifest.json").exists()
    assert not (tmp_path / "model/CURRENT").exists()

    refused = run_train(*settings, "train.max_iter=2")
    assert refused.returncode == 2
    assert "train.max_iter = 2 (it was 5000)" in refused.stderr
    done = run_train(*settings, "train.max_iter=2", "checkpoint.resume=never")
    assert done.returncode == 0, done.stderr
    assert (version / "manifest.json").exists()
    assert [path.name for path in run.iterdir()] == ["run.json"]
    assert len(read_factors(version / "user_factors")) == len(USERS)
