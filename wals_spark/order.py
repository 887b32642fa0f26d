"""The order of many numbers, fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def stable_order(keys: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """``np.argsort(keys, kind="stable")`` of numbers that are not negative, in a fifth to a half of its time.

    NumPy sorts two-byte numbers by radix, and the values of eight-byte ones by vector instructions, which know no
    places: so a key and its place are sorted as one number, where they fit into it.
    """
    bits, largest = len(keys).bit_length(), int(keys.max(initial=0))
    if largest < 2**16:
        return np.argsort(keys.astype(np.uint16), kind="stable")
    if largest.bit_length() + bits > 63:
        return np.argsort(keys, kind="stable")
    packed = keys.astype(np.int64)
    packed <<= bits
    packed |= np.arange(len(keys))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed
