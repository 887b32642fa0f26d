"""Local files are replaced in one step and created once, by any number of processes, and whenever one is killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from wals_spark.spark.file_systems import TEMPORARY, create_local_file, replace_local_file

REPLACE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from wals_spark.spark.file_systems import replace_local_file
for number in itertools.count(1):
    replace_local_file(Path(sys.argv[1]), b"%d\\n" % number)
"""


def _contents(path, stop):
    """What a reader in a loop sees: the number of looks, and all that is no number or less than the one before."""
    looks, wrong, latest = 0, [], 0
    while not stop.is_set():
        looks += 1
        try:
            content = path.read_bytes()
            number = int(content)
        except (OSError, ValueError) as error:
            wrong.append(repr(error))
            continue
        if number < latest or not content.endswith(b"\n"):
            wrong.append(content)
        latest = number
    return looks, wrong


@pytest.mark.parametrize("replacements", [1_000, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path, replacements):
    path = tmp_path / "CURRENT"
    replace_local_file(path, b"0\n")
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(1) as readers:
        stop = manager.Event()
        reader = readers.submit(_contents, path, stop)
        for number in range(1, replacements + 1):
            replace_local_file(path, b"%d\n" % number)
        stop.set()
        looks, wrong = reader.result()
    assert looks > 10
    assert not wrong
    assert [file.name for file in tmp_path.iterdir()] == ["CURRENT"]


def _create(path, barrier):
    barrier.wait()
    return create_local_file(path, str(os.getpid()).encode()), os.getpid()


@pytest.mark.parametrize("races", [20, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_of_eight_processes_one_creates_the_file(tmp_path, races):
    with multiprocessing.Manager() as manager, ProcessPoolExecutor(8) as processes:
        barrier = manager.Barrier(8)
        for race in range(races):
            path = tmp_path / str(race)
            told = [*processes.map(_create, [path] * 8, [barrier] * 8)]
            (winner,) = (process for is_new, process in told if is_new)
            assert path.read_text() == str(winner)
    assert len([*tmp_path.iterdir()]) == races


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it kills at a system call")
@pytest.mark.parametrize("calls", ["rename,renameat,renameat2", "fsync", "openat"])
@pytest.mark.parametrize("when", [1, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_a_writer_killed_at_a_system_call_leaves_a_whole_file(tmp_path, calls, when):
    path = tmp_path / "CURRENT"
    replace_local_file(path, b"0\n")
    # Of openat, only those of the file and its folder.
    tracing = ["strace", "-f", "-o", "/dev/null", *(("-P", str(tmp_path)) if calls == "openat" else ())]
    inject = ["-e", f"inject={calls}:signal=SIGKILL:when={when}"]
    writer = [sys.executable, "-c", REPLACE_FOR_EVER, str(path)]
    killed = subprocess.run([*tracing, *inject, *writer], check=False, timeout=60, capture_output=True)
    if b"ptrace" in killed.stderr.lower():
        pytest.skip("strace may not trace here")
    assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), killed.stderr
    assert int(path.read_bytes()) <= when
    left = [file.name for file in tmp_path.iterdir() if file.name != "CURRENT"]
    assert all(name.startswith(".CURRENT.") and name.endswith(TEMPORARY) for name in left)
    replace_local_file(path, b"done\n")
    assert path.read_bytes() == b"done\n"


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inside").write_text("")
    with pytest.raises(OSError, match="folder"):
        replace_local_file(tmp_path / "folder", b"x")
    with pytest.raises(FileExistsError, match="inside"):
        create_local_file(tmp_path / "folder/inside/below", b"x")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "inside"]
    assert not create_local_file(tmp_path / "folder", b"x")


def test_folders_are_made_on_the_way(tmp_path):
    replace_local_file(Path(tmp_path, "a/b/c"), b"x")
    assert create_local_file(Path(tmp_path, "a/d/e"), b"y")
    assert (tmp_path / "a/b/c").read_bytes() == b"x"
    assert (tmp_path / "a/d/e").read_bytes() == b"y"
