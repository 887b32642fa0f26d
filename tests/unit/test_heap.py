from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from wals_spark.arrays.heap import trim_heap


def resident_mib():
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if line.count(":") == 1)
    return int(lines["RssAnon"].split()[0]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to give memory back")
def test_what_was_freed_between_things_that_are_still_used_is_given_back():
    records = [bytes([n % 256]) * 65_536 for n in range(3200)]  # 200 MiB, each too small for a mapping of its own
    kept = records[::64]  # so that no free part ends where the heap ends, which is given back without being asked for
    del records
    before = resident_mib()
    trim_heap()
    assert resident_mib() < before - 150
    assert len(kept) == 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large arrays on its heap")
def test_large_arrays_are_given_back_as_they_are_freed_whatever_was_freed_before():
    trim_heap()
    first = np.ones(2**18)  # 2 MiB: glibc's sign, when it is freed, to keep such on the heap
    del first
    arrays = [np.ones(2**18) for _ in range(100)]
    kept = arrays[::10]
    before = resident_mib()
    del arrays
    assert resident_mib() < before - 150
    assert len(kept) == 10
