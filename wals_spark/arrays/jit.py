"""How kernels are compiled by Numba: once for all processes of a user that can write a cache, else once per process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import numba

from wals_spark.arrays.kernel_cache import KernelCache

# Sums may be reordered, which lets them vectorize; nan and inf keep their meaning, so that failed rows are detected.
_FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}
_OPTIONS: dict[str, Any] = {"fastmath": _FAST_MATH, "nogil": True, "error_model": "numpy"}


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel when it is first called, or read it from the cache."""
    kernel: Any = numba.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # no folder is this user's alone: each process compiles
        kernel._cache = KernelCache(function)  # type: ignore[no-untyped-call]  # as Numba's enable_caching, which chooses the folder itself
    return cast("Callable[..., Any]", kernel)


def inlined_by_llvm(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of a kernel, compiled first and then put into the kernels that call it: for loops over many rows."""
    part: Callable[..., Any] = numba.njit(**_OPTIONS, forceinline=True)(function)
    return part


def inlined_by_numba(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of a kernel that is compiled where it is called, as if it were written there.

    LLVM then orders its sums as it does in one long function, so that cutting a kernel into such parts keeps its bits.
    Arguments should be arrays and numbers: each array of a tuple is counted as a new reference at each call.
    """
    part: Callable[..., Any] = numba.njit(**_OPTIONS, inline="always")(function)
    return part
