"""Memory that is free in this process and that the machine still counts as the process's."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

import pyarrow as pa

_trim: Any = None
with suppress(AttributeError, OSError, TypeError):  # neither glibc nor anything like it
    _trim = ctypes.CDLL(None).malloc_trim


def give_back() -> None:
    """Give it back: Spark's workers live long, and clusters end those that hold too much."""
    pa.default_memory_pool().release_unused()
    if _trim is not None:
        _trim(0)
