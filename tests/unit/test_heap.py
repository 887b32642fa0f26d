from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim and mallopt")

PROGRAM = """
from pathlib import Path

import numpy as np

from wals_spark.arrays.heap import trim_heap


def resident_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

"""
FRAGMENTED = """
records = [bytes([n % 256]) * 65_536 for n in range(3200)]  # 200 MiB, each too small to be mapped
kept = records[::64]  # live objects between free ones and at the end of the heap, so that glibc cannot shrink it itself
filled = resident_mib()
del records
freed = resident_mib()
{trim}
print(filled - freed, freed - resident_mib())
"""
LARGE_ARRAYS = """
{trim}
first = np.ones(2**18)  # 2 MiB: when it is freed, glibc by default stops mapping arrays of this size
del first
arrays = [np.ones(2**18) for _ in range(100)]
kept = arrays[::10]
filled = resident_mib()
del arrays
print(filled - resident_mib())
"""


def returned_mib(program: str, *, trim: bool) -> list[float]:
    """Memory that a process of its own returns to the system, which runs this program and nothing else."""
    text = PROGRAM + program.format(trim="trim_heap()" if trim else "")
    default_malloc = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    process = subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True, env=default_malloc
    )
    return [float(mib) for mib in process.stdout.split()]


def test_trim_heap_returns_memory_between_live_objects():
    on_free, on_trim = returned_mib(FRAGMENTED, trim=True)
    assert on_free < 20
    assert on_trim > 150
    assert returned_mib(FRAGMENTED, trim=False)[1] < 20


def test_large_arrays_are_returned_when_freed_after_trim_heap():
    assert returned_mib(LARGE_ARRAYS, trim=True)[0] > 150
    assert returned_mib(LARGE_ARRAYS, trim=False)[0] < 50


def test_loaded_modules_leave_garbage_collection_once():
    """The second call freezes nothing that was made since the first."""
    program = """
import gc

from wals_spark.arrays.heap import freeze_modules

print(gc.get_freeze_count())
freeze_modules()
frozen = gc.get_freeze_count()
lists = [[] for _ in range(1000)]
freeze_modules()
print(frozen, gc.get_freeze_count())
"""
    process = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    before, frozen, again = map(int, process.stdout.split())
    assert before < 1000 < frozen
    assert again <= frozen
