"""A driver that is killed at any moment: the same command again ends with the same model, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest
from killed_runs import HALF_ITERATIONS, Job, copied, factors

from wals_spark.run.faults import POINTS
from wals_spark.run.history import HistoryEntry
from wals_spark.run.manifest import files_of_manifest, read_manifest
from wals_spark.run.version_files import TABLES, local_files, refuse_other_files

CHECKPOINT_EACH = "checkpoint.every=0"


HALVES = [f"half_iteration_{number}" for number in (1, 3, HALF_ITERATIONS - 2)]


def marked(point):
    return pytest.param(point, marks=pytest.mark.slow if point == "before_checkpoint_index" else pytest.mark.exhaustive)


def assert_as_undisturbed(job: Job, undisturbed: Job):
    """The model is that of a run that nothing has disturbed, it is served, and nothing is left beside it."""
    assert job.served() == "a"
    assert factors(job.root, "a") == factors(undisturbed.root, "a")
    assert sorted(path.name for path in (job.root / "runs/a").iterdir()) == ["run.json"]
    assert job.record("a")["state"] == "published"
    assert not [*job.root.rglob("*.new")]


@pytest.mark.parametrize("point", [marked(point) for point in (*POINTS, *HALVES)])
def test_killed_at_a_point_and_run_again(tmp_path, served, undisturbed, point):
    job = copied(served, tmp_path)
    before = factors(job.root, "before")
    killed = job.run("run.id=a", CHECKPOINT_EACH, fault=f"{point}:kill")
    assert killed.returncode == -signal.SIGKILL, killed.log
    assert job.served() == ("a" if point in ("after_current", "after_end") else "before")
    assert factors(job.root, "before") == before
    again = job.run("run.id=a", CHECKPOINT_EACH)
    assert again.returncode == 0, again.log
    assert_as_undisturbed(job, undisturbed)
    if again.solved:  # at most one half-iteration twice: there is a checkpoint after each
        assert again.solved == [*range(again.solved[0], HALF_ITERATIONS + 1)]
        assert max(killed.solved, default=0) - again.solved[0] <= 0


@pytest.mark.exhaustive
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it kills at a system call")
@pytest.mark.parametrize("number", range(1, 16))
def test_killed_at_a_rename_the_served_version_verifies(tmp_path, served, undisturbed, number):
    """Of the driver's main thread, which writes all small files; its last renames are those of a publish."""
    job = copied(served, tmp_path)
    kill = ("strace", "-o", "/dev/null", "-e", "trace=rename", "-e", f"inject=rename:signal=SIGKILL:when={number}")
    killed = job.run("run.id=a", wrapper=kill)
    assert killed.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), killed.log
    folder = job.root / "versions" / job.served()
    listed = files_of_manifest(read_manifest((folder / "manifest.json").read_text(), str(folder)))
    assert listed
    refuse_other_files(listed, local_files(folder, (*TABLES, "events.jsonl", "gramians.json")), str(folder))
    again = job.run("run.id=a")
    assert again.returncode == 0, again.log
    assert_as_undisturbed(job, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed: it takes cores away")
def test_a_run_goes_on_with_fewer_cores_to_the_same_bits(tmp_path, served, undisturbed):
    job, blocks = copied(served, tmp_path), ("train.user_blocks=0", "train.item_blocks=0")
    killed = job.run(
        "run.id=a", *blocks, CHECKPOINT_EACH, fault="half_iteration_4:kill", wrapper=("taskset", "-c", "0,1")
    )
    assert killed.returncode == -signal.SIGKILL, killed.log
    assert "2 blocks of 300 users" in killed.log
    again = job.run("run.id=a", *blocks, wrapper=("taskset", "-c", "0"))
    assert again.returncode == 0, again.log
    assert "2 blocks of 300 users" in again.log
    assert again.solved[0] == 4
    assert_as_undisturbed(job, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(20))
def test_killed_at_a_random_moment_and_run_again(tmp_path, served, undisturbed, number):
    rng = np.random.default_rng(number)
    job = copied(served, tmp_path)
    running = job.start("run.id=a", CHECKPOINT_EACH)
    running.wait_for("INFO input:")
    whom = ("Python", "JVM", "both")[number % 3]
    java = running.java()
    if not running.ends_within(rng.uniform(0.0, 9.0)):
        for process in {"Python": [running.pid], "JVM": [java], "both": [java, running.pid]}[whom]:
            os.kill(process, signal.SIGKILL)
    running.wait()
    assert job.served() in ("before", "a")
    again = job.run("run.id=a", CHECKPOINT_EACH)
    assert again.returncode == 0, again.log
    assert_as_undisturbed(job, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("point", ["half_iteration_5", "after_blocks"])
def test_sigterm_writes_a_checkpoint_and_lets_go_of_everything(tmp_path, served, undisturbed, point):
    job = copied(served, tmp_path)
    running = job.start("run.id=a", fault=f"{point}:term")
    ended = running.wait()
    assert ended.returncode == 143, ended.log
    assert "error: interrupted by SIGTERM" in ended.log
    assert not running.processes()
    assert not job.left()
    assert '"released"' in next((job.root / "leases").iterdir()).read_text()
    record = job.record("a")
    assert (record["state"], record["exit_code"]) == ("interrupted", 143)
    assert job.served() == "before"
    again = job.run("run.id=a")
    assert again.returncode == 0, again.log
    if point == "half_iteration_5":
        assert again.solved == [6, 7, 8]
    assert_as_undisturbed(job, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["JVM", pytest.param("Python", marks=pytest.mark.exhaustive)])
def test_sigterm_in_a_half_iteration_cancels_it(tmp_path, served, whom):
    """Under spark-submit in client mode the signal reaches the JVM."""
    job = copied(served, tmp_path)
    running = job.start("run.id=a", "train.max_iter=5000")
    running.wait_for("half-iteration     7/10000")
    os.kill(running.java() if whom == "JVM" else running.pid, signal.SIGTERM)
    ended = running.wait(timeout=60.0)
    assert ended.returncode == 143, ended.log
    (checkpoint,) = (job.root / "runs/a/checkpoints").iterdir()
    assert int(checkpoint.name) in (max(ended.solved), max(ended.solved) + 1)
    assert job.record("a")["state"] == "interrupted"
    assert not running.processes()
    assert not job.left()


@pytest.mark.exhaustive
def test_a_second_run_of_what_is_done_does_nothing(undisturbed, tmp_path):
    job = copied(undisturbed, tmp_path)
    since = HistoryEntry(number=2, action="publish", version="another", before="a")
    (job.root / "history" / since.file).write_text(since.as_json())
    (job.root / "CURRENT").write_text("another\n")
    ended = job.run("run.id=a")
    assert ended.returncode == 0, ended.log
    assert not ended.solved
    assert job.served() == "another"
    other = job.run("run.id=a", "train.rank=7")
    assert other.returncode == 2
    assert "train.rank = 7 (it was 6)" in other.log
