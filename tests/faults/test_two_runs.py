"""Two runs at once: one writes below a root, the other says who does; who was overtaken writes nothing more."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from killed_runs import Job, copied, factors

STALE = "lease.stale_seconds=10"


def files(job: Job) -> dict[str, tuple[int, int]]:
    """Size and time of everything below the root."""
    paths = [path for path in job.root.rglob("*") if path.is_file()]
    return {str(path.relative_to(job.root)): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


CASES = [
    pytest.param(number, marks=pytest.mark.slow if number == 0 else pytest.mark.exhaustive) for number in range(20)
]


@pytest.mark.parametrize("number", CASES)
def test_one_of_two_runs_trains(tmp_path, served, undisturbed, number):
    job = copied(served, tmp_path)
    other_name = "run.id=a" if number % 2 else "run.id=b"  # the same run, or another one below the same root
    first = job.start("run.id=a")
    time.sleep(np.random.default_rng(number).uniform(0.0, 10.0))
    second = job.start(other_name)
    ended = [first.wait(), second.wait()]
    codes = [each.returncode for each in ended]
    print(f"exit codes {codes}")
    assert sorted(codes) in ([0, 5], [0, 0]), [each.log for each in ended]
    trained = [each for each in ended if each.solved]
    if 5 in codes:
        refused = ended[codes.index(5)]
        assert not refused.solved
        assert "is held by run" in refused.log
        assert ", process " in refused.log
        assert len(trained) == 1
    else:  # one after the other: the second found the lease released
        assert len(trained) == 1 + (other_name == "run.id=b")
    for name in {"a", "b"} & {path.name for path in (job.root / "versions").iterdir()}:
        assert factors(job.root, name) == factors(undisturbed.root, "a")
    assert job.served() in ("a", "b")


@pytest.mark.slow
def test_a_holder_that_was_overtaken_writes_nothing_more(tmp_path, served, undisturbed):
    job = copied(served, tmp_path)
    stopped = job.start("run.id=a", "checkpoint.every=0", STALE, fault="half_iteration_3:stop")
    stopped.wait_for("half-iteration 3/8")
    time.sleep(1.0)  # its renewals have stopped with it
    second = job.run("run.id=a", "checkpoint.every=0", STALE)
    assert second.returncode == 0, second.log
    assert "took over" in second.log
    assert second.solved[0] == 3  # it goes on where the other is
    before = files(job)
    stopped.signal(signal.SIGCONT)
    ended = stopped.wait()
    assert ended.returncode == 5, ended.log
    assert "was taken over by run a" in ended.log
    assert files(job) == before
    assert factors(job.root, "a") == factors(undisturbed.root, "a")


@pytest.mark.exhaustive
def test_the_lease_of_a_run_that_is_gone_is_free_at_once(tmp_path, served):
    job = copied(served, tmp_path)
    killed = job.run("run.id=a", "lease.stale_seconds=600", fault="after_lease:kill")
    assert killed.returncode == -signal.SIGKILL
    ended = job.run("run.id=b", "lease.stale_seconds=600")
    assert ended.returncode == 0, ended.log
