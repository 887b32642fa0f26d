"""The compiled kernels of the solvers, where Numba is installed."""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def numba_kernels() -> ModuleType | None:
    """`numba_kernels.py`, or None where Numba (the extra ``fast``) is not installed."""
    try:
        from wals_spark.solvers import numba_kernels
    except ImportError:
        return None
    return numba_kernels
