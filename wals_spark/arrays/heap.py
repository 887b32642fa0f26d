"""Memory that is free in this process and that the machine still counts as the process's."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import pyarrow as pa

_LARGE = 2**20  # bytes
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h

_trim: Any = None
_mallopt: Any = None
with suppress(AttributeError, OSError, TypeError):  # neither glibc nor anything like it
    _trim, _mallopt = ctypes.CDLL(None).malloc_trim, ctypes.CDLL(None).mallopt


def trim_heap() -> None:
    """Give it back, and from now on large arrays when they are freed.

    Spark's workers live long, and clusters end those that hold too much. Large arrays are mapped, and unmapped when
    they are freed; by itself glibc takes the first that is freed for a sign to keep those to come on the heap, where
    what lies behind them keeps them from being given back.
    """
    if _mallopt is not None:  # here and not above: who only imports this package may want malloc as it is
        _mallopt(_MMAP_THRESHOLD, _LARGE)
    pa.default_memory_pool().release_unused()
    if _trim is not None:
        _trim(0)
