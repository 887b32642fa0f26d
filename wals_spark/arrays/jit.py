"""How kernels are compiled by Numba: once for all processes where its cache can be written, else once per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Sums may be reordered, which lets them vectorize; nan and inf keep their meaning, so that failed rows are detected.
_FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel when it is first called."""
    options: dict[str, Any] = {"fastmath": _FAST_MATH, "nogil": True, "error_model": "numpy"}
    try:
        kernel: Callable[..., Any] = numba.njit(**options, cache=True)(function)
    except RuntimeError:  # neither the folder of the function's file nor the user's cache is writable
        kernel = numba.njit(**options)(function)
    return kernel
