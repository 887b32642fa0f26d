"""What a local run shows to other users and machines, and how much memory it takes: a process of its own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

LOOK = """
import json, os, sys
from pathlib import Path
from pyspark.sql import functions as F
from wals_spark import open_session

def listening():
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                yield fields[9], fields[1].split(":")[0]

def sockets_of(process):
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]

def family(process):
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))

with open_session("look", local_master="local[2]") as spark:
    rows = spark.range(1000).mapInArrow(lambda batches: batches, "id long").groupBy(F.col("id") % 7).count()
    assert rows.count() == 7
    own = {inode for process in family(os.getpid()) for inode in sockets_of(process)}
    addresses = [address for inode, address in listening() if inode in own]
    url = spark.sparkContext.uiWebUrl
    heap = spark.sparkContext._jvm.java.lang.Runtime.getRuntime().maxMemory()
    folders = [(str(path), path.stat().st_mode) for path in Path(os.environ["TMPDIR"]).iterdir()]
    print(json.dumps({"addresses": addresses, "url": url, "heap": heap, "folders": folders}))
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def look(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for the name of a socket
        options = f"-Djava.io.tmpdir={folder} -XX:TieredStopAtLevel=1"
        environment = {**kept, "TMPDIR": folder, "SPARK_SUBMIT_OPTS": options, "SPARK_CONF_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", LOOK], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # a process of its own
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at Linux's table of sockets")
def test_a_local_run_is_closed_to_others_and_as_large_as_set(tmp_path):
    (tmp_path / "spark-defaults.conf").write_text("spark.driver.memory 700m\n")
    seen = look(tmp_path)
    assert 650 < seen["heap"] / 2**20 <= 700
    assert len(seen["addresses"]) >= 3  # Spark's UI, its RPC, its blocks
    assert set(seen["addresses"]) <= LOOPBACK
    assert seen["url"].startswith("http://127.0.0.1:") or seen["url"].startswith("http://localhost:")
    names = ("blockmgr-", "spark-", "pyspark-", "wals_spark-")  # the others are Java's: libraries and counters
    modes = {Path(path).name: stat.S_IMODE(mode) for path, mode in seen["folders"] if Path(path).name.startswith(names)}
    assert {name.split("-")[0] for name in modes} >= {"blockmgr", "spark"}
    assert set(modes.values()) == {0o700}, modes
