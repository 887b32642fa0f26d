"""A real standalone cluster on the loopback interface: a master and two workers, each a process of its own.

The workers have addresses of their own and, where the system allows it, names of their own (a UTS namespace), so that
to Spark and to their tasks they are two machines.

The workers' Python has NumPy and PyArrow, but neither pandas nor this package: what runs there was sent there.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyspark
import pytest

SPARK_HOME = Path(pyspark.__file__).parent


def clean_environment() -> dict[str, str]:
    """This process's environment without the path to this checkout that pytest-xdist gives its workers."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@dataclass
class Cluster:
    url: str
    ui_port: int
    executor_python: Path
    folder: Path

    def submit(self, program: Path, *arguments: str, conf: tuple[str, ...] = (), **options) -> subprocess.Popen:
        """Start ``spark-submit`` against this cluster; all that it prints comes as standard output."""
        settings = (
            "spark.driver.host=127.0.0.1",
            "spark.driver.bindAddress=127.0.0.1",
            "spark.driver.memory=512m",
            "spark.executor.memory=1g",
            f"spark.pyspark.python={self.executor_python}",
            f"spark.pyspark.driver.python={sys.executable}",
            "spark.ui.enabled=false",
            "spark.scheduler.minRegisteredResourcesRatio=1.0",  # else one executor may have all before the other is up
            *conf,
        )
        command = [SPARK_HOME / "bin/spark-submit", "--master", self.url, *(f"--conf={s}" for s in settings)]
        environment = {k: v for k, v in clean_environment().items() if not k.startswith("PYSPARK_")}
        return subprocess.Popen(
            [*command, program, *arguments], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    def workers(self) -> int:
        """How many workers have registered."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.ui_port}/json/") as page:
            return int(json.load(page)["aliveworkers"])
        return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def named(name: str) -> list[str]:
    """What to put before a command so that it finds this to be the machine's name; nothing where that is forbidden."""
    command = ["unshare", "--uts", "--map-root-user", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]
    with contextlib.suppress(OSError):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


@pytest.fixture(scope="session")
def executor_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same interpreter and packages without pandas, and without the .pth file that finds this checkout."""
    folder = tmp_path_factory.mktemp("python")
    python = folder / "python"
    (folder / "pandas.py").write_text('raise ImportError("no pandas here")')
    packages = sysconfig.get_path("purelib")
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}:$PYTHONPATH:{packages}" exec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    subprocess.run([python, "-c", "import numpy, pyarrow"], check=True, cwd="/", env=clean_environment())
    for package, message in (("wals_spark", "No module named 'wals_spark'"), ("pandas", "no pandas here")):
        tried = subprocess.run(
            [python, "-c", f"import {package}"], capture_output=True, text=True, check=False, cwd="/",
            env=clean_environment(),
        )  # fmt: skip
        assert message in tried.stderr
    return python


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, executor_python: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    port, ui_port = free_port(), free_port()
    found = Cluster(f"spark://127.0.0.1:{port}", ui_port, executor_python, folder)
    spark_class = str(SPARK_HOME / "bin/spark-class")
    environment = {**clean_environment(), "SPARK_HOME": str(SPARK_HOME)}
    commands = [
        ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(ui_port)],
        *(
            ["worker.Worker", "--host", f"127.0.0.{n}", "--cores", "1", "--memory", "1g", "--webui-port", "0",
             "--work-dir", str(folder / f"worker-{n}"), found.url]
            for n in (2, 3)
        ),
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for number, (name, *arguments) in enumerate(commands):
            log = stack.enter_context((folder / f"{number}-{name}.log").open("w"))
            process = subprocess.Popen(
                [*named(f"machine-{number}"), spark_class, f"org.apache.spark.deploy.{name}", *arguments],
                stdout=log, stderr=log, env={**environment, "SPARK_LOCAL_IP": arguments[1]}, cwd=folder,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.terminate)
        deadline = time.monotonic() + 120
        while found.workers() < 2:
            assert time.monotonic() < deadline, f"no cluster after 120 s; see the logs in {folder}"
            time.sleep(0.2)
        yield found
