"""Kernels of the package in a zip, as executors have it: compiled once for all places where it is unpacked."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile

import pytest

pytest.importorskip("numba")

from wals_spark.arrays.kernel_cache import kernel_folder
from wals_spark.spark.archive import write_archive

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from wals_spark.ranking import numba_kernels
assert numba_kernels.__file__.startswith(sys.argv[1]), numba_kernels.__file__
kernel = numba_kernels._bound
kernel(np.zeros(100, np.float32), np.zeros(64, np.float32), 3)
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


def run_from_zip(folder, home):
    folder.mkdir()
    write_archive(folder / "wals_spark.zip")
    environment = {**os.environ, "HOME": str(home)}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "PYTHONPATH"):
        environment.pop(name, None)
    command = [sys.executable, "-c", RUN, str(folder / "wals_spark.zip")]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_runs_of_a_user_share_kernels_wherever_the_package_is(tmp_path):
    home = tmp_path / "home"
    assert run_from_zip(tmp_path / "executor 0", home) == ["0", "1"]
    (base,) = (home / ".cache").iterdir()
    (folder,) = base.iterdir()
    files = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert stat.S_IMODE(base.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run_from_zip(tmp_path / "executor 1", home) == ["1", "0"]
    assert list(base.iterdir()) == [folder]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == files


@pytest.fixture
def places(monkeypatch, tmp_path):
    """The user's cache and the folder for temporary files."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache/wals_spark", tmp_path / f"wals_spark-{os.geteuid()}"


def test_each_source_has_its_folder(places):
    folder = kernel_folder("a")
    assert folder == kernel_folder("a") != kernel_folder("b")
    assert folder.parent == places[0]


def test_the_folder_that_numba_is_told_comes_first(places, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "given"))
    assert kernel_folder("a").parent == tmp_path / "given/wals_spark"


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_is_not_read(places, mode):
    cache, temporary = places
    kernel_folder("a").chmod(mode)
    assert kernel_folder("a").parent == temporary
    cache.chmod(mode)
    assert kernel_folder("b").parent == temporary
    temporary.chmod(mode)
    assert kernel_folder("a") is None


def test_a_folder_that_somebody_else_has_put_there_is_not_read(places, tmp_path):
    for place in places:
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(tmp_path)
    assert kernel_folder("a") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_read(places):
    for place in places:
        place.mkdir(mode=0o700, parents=True)
        os.chown(place, 65534, 65534)
    assert kernel_folder("a") is None
