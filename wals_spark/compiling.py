"""How loops are compiled by Numba: once for all processes where a cache can be written, else once for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop, sums as they are written: nothing is reordered, nan and inf are what they are."""
    try:
        loop: Callable[..., Any] = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither beside the function's file nor in the user's cache can anything be written
        loop = numba.njit(nogil=True, error_model="numpy")(function)
    return loop
