"""Disks that are full, or in memory: of Spark's local folders, and of the output."""

from __future__ import annotations

import shutil
import signal

import pytest
from disks import memory
from killed_runs import copied, factors

from wals_spark.run.faults import POINTS


@pytest.mark.slow
def test_local_folders_in_memory_have_no_cache(tmp_path, served, undisturbed):
    job = copied(served, tmp_path)
    with memory(tmp_path / "memory", 64_000) as folder:
        ended = job.run("run.id=a", SPARK_LOCAL_DIRS=str(folder))
    assert ended.returncode == 0, ended.log
    assert factors(job.root, "a") == factors(undisturbed.root, "a")
    assert ended.log.count("could not be cached on their executor") == 1
    assert "is in memory" in ended.log


FREE_KIBIBYTES = {"in writing": 420, "in a checkpoint": 500, "in building blocks": 150, "at the start": 4}


@pytest.mark.exhaustive
@pytest.mark.parametrize("when", FREE_KIBIBYTES)
def test_a_full_output_is_an_error_and_no_loss(tmp_path, served, undisturbed, when):
    """The served version stays, and what was written is gone after the next run that has room."""
    with memory(tmp_path / "small", 40_000) as folder:
        job = copied(served, tmp_path, folder / "model")
        before, filler = factors(job.root, "before"), folder / "filler"
        filler.write_bytes(b"x" * (shutil.disk_usage(folder).free - 1024 * FREE_KIBIBYTES[when]))
        ended = job.run("run.id=a", f"checkpoint.every={'never' if when == 'in writing' else 0}")
        assert ended.returncode == 1, ended.log
        assert "No space left on device" in ended.log
        assert job.served() == "before"
        assert factors(job.root, "before") == before
        filler.unlink()
        again = job.run("run.id=a", "checkpoint.every=0")
        assert again.returncode == 0, again.log
        assert factors(job.root, "a") == factors(undisturbed.root, "a")
        assert sorted(path.name for path in (job.root / "runs/a").iterdir()) == ["run.json"]


@pytest.mark.exhaustive
def test_killed_runs_leave_nothing_after_a_good_one(tmp_path, served, undisturbed):
    """20 runs are killed, each at another point; then one ends: root and local folders hold a model, and no more."""
    job = copied(served, tmp_path)
    for number in range(20):
        point = POINTS[number % POINTS.index("before_manifest")]
        killed = job.run(f"run.id=killed-{number}", "checkpoint.every=0", fault=f"{point}:kill")
        assert killed.returncode == -signal.SIGKILL, killed.log
    ended = job.run("run.id=a")
    assert ended.returncode == 0, ended.log
    shutil.rmtree(job.root / "versions/before")
    sizes = [sum(path.stat().st_size for path in root.rglob("*")) for root in (job.root, undisturbed.root)]
    print(f"bytes of the root, and of a root where no run was killed: {sizes}; left in local folders: {job.left()}")
    assert sizes[0] < 1.1 * sizes[1]
    assert not job.left()
