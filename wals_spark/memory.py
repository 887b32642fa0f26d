"""Memory that is free in this process and that the machine still counts as the process's."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import pyarrow as pa

_LARGE = 2**20  # bytes
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h

_trim: Any = None
with suppress(AttributeError, OSError, TypeError):  # neither glibc nor anything like it
    _trim = ctypes.CDLL(None).malloc_trim
    # Large arrays are mapped, and unmapped when they are freed. By itself glibc takes the first that is freed for a
    # sign to keep those to come on the heap, where what lies behind them keeps them from being given back.
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give it back: Spark's workers live long, and clusters end those that hold too much."""
    pa.default_memory_pool().release_unused()
    if _trim is not None:
        _trim(0)
