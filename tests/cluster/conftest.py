"""A real standalone cluster on the loopback interface: a master and two workers, each a process of its own.

The workers have addresses of their own and, where the system allows it, names of their own (a UTS namespace), so that
to Spark and to their tasks they are two machines.

Executors run the Python of .venv-executor: NumPy, PyArrow and Numba, and nothing else. This package comes from the
driver, PySpark from Spark's own folder.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyspark
import pytest
import standalone_training

SPARK_HOME = Path(pyspark.__file__).parent
PATIENCE_SECONDS = 800  # below the timeout of a test in pyproject.toml
EXECUTOR_CLASS = "CoarseGrainedExecutorBackend"
EXECUTOR_MODULES = ("numpy", "pyarrow", "numba")
DRIVER_MODULES = ("msgspec", "pandas", "scipy", "threadpoolctl", "rich", "optuna", "pyspark", "wals_spark")


def clean_environment() -> dict[str, str]:
    """This process's environment without what points at this checkout or names a Python for Spark."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and "PYSPARK" not in name}


@dataclass
class Cluster:
    """Where the cluster listens, what its executors run, and the processes of its workers."""

    url: str
    ui_port: int
    executor_python: Path
    folder: Path
    worker_processes: list[int] = field(default_factory=list)
    start_worker: Callable[[int], None] = lambda _: None
    spark_submit = SPARK_HOME / "bin/spark-submit"

    def submit(self, program: Path, *arguments: str, conf: Sequence[str] = (), **options) -> subprocess.Popen:
        """Start ``spark-submit`` against this cluster; all that it prints comes as standard output."""
        settings = (
            "spark.driver.host=127.0.0.1",
            "spark.driver.bindAddress=127.0.0.1",
            "spark.driver.memory=512m",
            "spark.executor.memory=1g",
            f"spark.executor.extraJavaOptions={os.environ['SPARK_SUBMIT_OPTS']}",  # those of tests, as the driver's
            f"spark.pyspark.python={self.executor_python}",
            f"spark.pyspark.driver.python={sys.executable}",
            "spark.ui.enabled=false",
            "spark.scheduler.minRegisteredResourcesRatio=1.0",  # else one executor may have all before the other is up
        )
        command = [self.spark_submit, "--master", self.url, *(f"--conf={s}" for s in (*settings, *conf))]
        return subprocess.Popen(
            [*command, program, *arguments], cwd=self.folder, env=clean_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    @staticmethod
    def finish(process: subprocess.Popen) -> tuple[int, str]:
        """The exit code, and what was printed since the last line that was read; killed if it takes too long."""
        try:
            log, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            log, _ = process.communicate()
            log += f"\nkilled after {PATIENCE_SECONDS} s"
        return process.returncode, log

    def executors(self) -> list[int]:
        """The processes of this cluster's executors; those of other clusters on this machine have other parents."""
        parents = ",".join(map(str, self.worker_processes))
        listed = subprocess.run(
            ["pgrep", "-P", parents, "-f", EXECUTOR_CLASS], capture_output=True, text=True, check=False
        )
        return [int(process) for process in listed.stdout.split()]

    def alive_workers(self) -> int:
        """How many workers have registered; none while the master's page is not yet, or only half, there."""
        not_yet = (OSError, http.client.HTTPException, ValueError, KeyError)
        with contextlib.suppress(*not_yet), urllib.request.urlopen(f"http://127.0.0.1:{self.ui_port}/json/") as page:
            return int(json.load(page)["aliveworkers"])
        return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def with_host_name(name: str) -> list[str]:
    """What to put before a command so that it sees this host name; nothing where that is forbidden."""
    command = ["unshare", "--uts", "--map-root-user", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]
    with contextlib.suppress(OSError):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


@pytest.fixture(scope="session")
def executor_python() -> Path:
    """The Python of .venv-executor, which has the driver's minor version."""
    python = Path(os.environ.get("WALS_EXECUTOR_PYTHON", ""))
    if not python.is_file():
        pytest.skip("executors' Python: scripts/test --lane cluster makes .venv-executor and sets WALS_EXECUTOR_PYTHON")
    program = f"""if True:
        import importlib.util, sys
        print(*sys.version_info[:2], *(m for m in {EXECUTOR_MODULES + DRIVER_MODULES} if importlib.util.find_spec(m)))
    """
    told = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, check=True, cwd="/", env=clean_environment()
    )
    assert told.stdout.split() == [*map(str, sys.version_info[:2]), *EXECUTOR_MODULES]
    return python


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, executor_python: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    port = free_port()
    cluster = Cluster(f"spark://127.0.0.1:{port}", free_port(), executor_python, folder)
    options = ["--cores", "1", "--memory", "1g", "--webui-port", "0"]
    master = ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(cluster.ui_port)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(started(0, master, folder))

        def start_worker(number: int) -> None:
            host, work = f"127.0.0.{number + 1}", f"{folder}/worker-{number + 1}"
            command = ["worker.Worker", "--host", host, *options, "--work-dir", work, cluster.url]
            cluster.worker_processes.append(stack.enter_context(started(number, command, folder)).pid)

        cluster.start_worker = start_worker
        for number in (1, 2):
            start_worker(number)
        deadline = time.monotonic() + 120
        while cluster.alive_workers() < 2:
            assert time.monotonic() < deadline, f"no cluster after 120 s; see the logs in {folder}"
            time.sleep(0.2)
        yield cluster


@contextlib.contextmanager
def started(number: int, command: list[str], folder: Path) -> Iterator[subprocess.Popen]:
    """A class of Spark's in a process of its own, on a "machine" of its own; ended afterwards."""
    name, *arguments = command
    environment = {**clean_environment(), "SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": arguments[1]}
    java = [str(SPARK_HOME / "bin/spark-class"), f"org.apache.spark.deploy.{name}"]
    with (folder / f"{number}-{name}.log").open("w") as log:
        process = subprocess.Popen(
            [*with_host_name(f"machine-{number}"), *java, *arguments],
            stdout=log, stderr=log, env=environment, cwd=folder,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session")
def interactions(cluster: Cluster) -> list[str]:
    """The arguments of a training."""
    return standalone_training.write_interactions(cluster.folder)


@pytest.fixture(scope="session")
def local_factors(cluster: Cluster, interactions: list[str]) -> dict:
    """The same training on local[2], under spark-submit as well."""
    train = standalone_training.TRAIN
    command = [cluster.spark_submit, "--master", "local[2]", train, *interactions, "--set=output.version=local"]
    subprocess.run(command, cwd=cluster.folder, check=True, capture_output=True, timeout=400)
    return standalone_training.factors(cluster, "local")
