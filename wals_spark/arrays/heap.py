"""The memory of a Python worker: free memory returned to the operating system, and shorter garbage collections."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Any

import pyarrow as pa

_LARGE = 2**20  # bytes
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h

_frozen = False
_malloc_trim: Any = None
_mallopt: Any = None
with suppress(AttributeError, OSError, TypeError):  # a C library without these functions of glibc
    _malloc_trim, _mallopt = ctypes.CDLL(None).malloc_trim, ctypes.CDLL(None).mallopt


def trim_heap() -> None:
    """Return free memory to the operating system, and from now on that of large arrays as soon as they are freed.

    Spark's Python workers live long, and cluster managers kill those that use too much memory. glibc maps large arrays
    and unmaps them when they are freed. But by default, the first one that is freed raises its threshold: it keeps
    later arrays of this size on the heap, where live objects behind them keep their memory from being returned.
    """
    if _mallopt is not None:  # not at import: a program that only imports this package may want malloc unchanged
        _mallopt(_MMAP_THRESHOLD, _LARGE)
    pa.default_memory_pool().release_unused()
    if _malloc_trim is not None:
        _malloc_trim(0)


def freeze_modules() -> None:
    """Take what is loaded by now, compiled kernels above all, out of all later garbage collections; once per process.

    PySpark's daemon collects garbage after each task. With Numba and the kernels loaded that looks at a quarter of a
    million objects, tens of milliseconds of CPU per task, none of which is ever garbage.
    """
    global _frozen
    if not _frozen:
        gc.collect()
        gc.freeze()
        _frozen = True
