"""How loops are compiled by Numba: once for all processes where a cache can be written, else once for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Sums may be reordered, so that they vectorize; nan and inf stay what they are, so that a failed row can be found.
_FAST = {"contract", "reassoc", "nsz", "arcp"}


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop when it is first called."""
    options: dict[str, Any] = {"fastmath": _FAST, "nogil": True, "error_model": "numpy"}
    try:
        loop: Callable[..., Any] = numba.njit(**options, cache=True)(function)
    except RuntimeError:  # neither beside the function's file nor in the user's cache can anything be written
        loop = numba.njit(**options)(function)
    return loop
