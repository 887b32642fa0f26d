"""The order of many numbers, fast."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.types import Indices, Int64Array


def stable_argsort(keys: Indices) -> Int64Array:
    """``np.argsort(keys, kind="stable")`` of numbers that are not negative, in a fifth to a half of its time.

    NumPy sorts two-byte numbers by radix, and the values of eight-byte ones by vector instructions, which know no
    places: so a key and its place are sorted as one number, where they fit into it.
    """
    bits = _bits_of_a_place(keys)
    if bits is None:
        return _argsort(keys)
    packed = _packed(keys.astype(np.int64), bits)
    packed &= (1 << bits) - 1
    return packed


def stable_sort(keys: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The keys in ascending order, and their `stable_argsort`; ``keys`` are overwritten, for the sake of their memory."""
    bits = _bits_of_a_place(keys)
    if bits is None:
        order = _argsort(keys)
        return keys[order], order
    packed = _packed(keys, bits)
    order = packed & ((1 << bits) - 1)
    packed >>= bits
    return packed, order


def _bits_of_a_place(keys: Indices) -> int | None:
    """How many bits the place of a key takes; None where keys are not packed with them."""
    bits, largest = len(keys).bit_length(), int(keys.max(initial=0))
    return None if largest < 2**16 or largest.bit_length() + bits > 63 else bits


def _argsort(keys: Indices) -> Int64Array:
    return np.argsort(keys.astype(np.uint16, copy=False) if keys.max(initial=0) < 2**16 else keys, kind="stable")


def _packed(keys: Int64Array, bits: int) -> Int64Array:
    """Keys with their places in their last bits, sorted where they lie."""
    places: Indices = np.arange(len(keys), dtype=np.int32 if bits < 32 else np.int64)
    keys <<= bits
    keys |= places
    keys.sort()
    return keys
