"""Training jobs as processes of their own, which tests kill, and what they leave on disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wals_spark.run.faults import FAULT

REPOSITORY = Path(__file__).resolve().parents[1]
HALF_ITERATIONS = 8
SETTINGS = ("train.rank=6", "train.user_blocks=2", "train.item_blocks=2", f"train.max_iter={HALF_ITERATIONS // 2}")
_SOLVED = re.compile(r"half-iteration +(\d+)/")


def write_plays(path: Path, seed: int = 0) -> Path:
    """Some interactions of 300 users and 100 items."""
    rng = np.random.default_rng(seed)
    columns = {"user": rng.integers(0, 300, 6000), "item": rng.zipf(1.3, 6000) % 100, "rating": np.ones(6000)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


class Ended(NamedTuple):
    """How a job ended, and what it logged."""

    returncode: int
    log: str

    @property
    def solved(self) -> list[int]:
        """The half-iterations that it solved, in order."""
        return [int(number) for number in _SOLVED.findall("\n".join(re.findall(r".*  loss .*", self.log)))]


class Job:
    """A training job below ``folder``: a ``root``, by default in it, and local folders of Spark in ``local``."""

    def __init__(self, folder: Path, plays: Path, *settings: str, root: Path | None = None) -> None:
        self.folder = folder
        self.root = root or folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        self.local = Path(tempfile.mkdtemp(prefix="wals-"))  # a short path: sockets are in it
        weakref.finalize(self, shutil.rmtree, self.local, ignore_errors=True)
        self.settings = (f"input.path={plays}", f"output.path={self.root}", *SETTINGS, *settings)

    def start(self, *settings: str, fault: str = "", wrapper: tuple[str, ...] = (), **variables: str) -> Popen:
        """Start it, with more settings, to end at a fault point; ``wrapper`` is a command that runs it."""
        job = [sys.executable, str(REPOSITORY / "jobs/train.py")]
        command = [*wrapper, *job, *(f"--set={setting}" for setting in (*self.settings, *settings))]
        return Popen(command, self.folder, self.environment(**{FAULT: fault}, **variables))

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables that it sees, with more of them."""
        return {
            **os.environ,
            "SPARK_LOCAL_DIRS": str(self.local),
            "TMPDIR": str(self.local),
            "SPARK_SUBMIT_OPTS": f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.io.tmpdir={self.local}",
            **variables,
        }

    def run(self, *settings: str, fault: str = "", **options) -> Ended:
        """Start it and wait for its end."""
        return self.start(*settings, fault=fault, **options).wait()

    def served(self) -> str:
        """The name of the served version."""
        return (self.root / "CURRENT").read_text().strip()

    def record(self, run: str) -> dict:
        """What run.json says."""
        return json.loads((self.root / "runs" / run / "run.json").read_text())

    def left(self) -> list[str]:
        """What of the job is in Spark's local folders; a killed JVM leaves unpacked libraries beside it."""
        return sorted(path.name for path in self.local.iterdir() if path.name.startswith(("blockmgr", "spark", "wals")))


class Popen:
    """A job that runs, and all its processes."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / f"log-{time.monotonic_ns()}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = self._process.pid

    def wait(self, timeout: float = 240.0) -> Ended:
        """Wait for its end; what it has left of processes is killed."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.kill_all()
            raise AssertionError(f"it has not ended:\n{self.log()}") from error
        self._wait_for_group()
        return Ended(code, self.log())

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 120.0) -> None:
        """Wait until it has logged something."""
        end = time.monotonic() + timeout
        while text not in self.log():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"{text!r} is not in its log:\n{self.log()}")
            time.sleep(0.02)

    def ends_within(self, seconds: float) -> bool:
        """Whether its first process ends before so many seconds have passed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        os.kill(self.pid, number)

    def java(self) -> int:
        """The process of its JVM."""
        found = subprocess.run(["pgrep", "-s", str(self.pid), "java"], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])

    def kill_all(self) -> None:
        """Kill all its processes, wherever they are."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Those of its processes that are still there."""
        found = subprocess.run(["pgrep", "-s", str(self.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def _wait_for_group(self) -> None:
        """A JVM notices that its driver is gone, and ends; it has some seconds for it."""
        end = time.monotonic() + 20.0
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)


def copied(job: Job, folder: Path, root: Path | None = None) -> Job:
    """The same job on a copy of its root, elsewhere."""
    settings = [setting for setting in job.settings if not setting.startswith(("input.path=", "output.path="))]
    plays = Path(job.settings[0].partition("=")[2])
    copy = Job(folder, plays, *settings[len(SETTINGS) :], root=root)
    shutil.copytree(job.root, copy.root)
    return copy


def factors(root: Path, version: str) -> dict[str, bytes]:
    """The bits of both factor tables, by id."""
    tables = {}
    for name in ("user_factors", "item_factors"):
        table = pq.read_table(root / "versions" / version / name).sort_by("id")
        rows = np.array(table["features"].to_pylist(), dtype=np.float32)
        tables[name] = np.array(table["id"].to_pylist()).tobytes() + rows.tobytes()
    return tables
