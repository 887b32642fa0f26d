"""The compiled loops, where they can be had."""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def compiled_loops() -> ModuleType | None:
    """`compiled.py`, or None where Numba (the extra ``fast``) is not installed."""
    try:
        from wals_spark import compiled
    except ImportError:
        return None
    return compiled


@cache
def compiled_ranking() -> ModuleType | None:
    """`compiled_ranking.py`, or None where Numba is not installed."""
    try:
        from wals_spark import compiled_ranking
    except ImportError:
        return None
    return compiled_ranking
