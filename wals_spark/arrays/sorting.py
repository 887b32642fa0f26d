"""Stable sorts of non-negative integers, faster than NumPy's."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.types import Indices, Int64Array


def stable_argsort(keys: Indices) -> Int64Array:
    """``np.argsort(keys, kind="stable")`` of non-negative integers, in a fifth to a half of its time.

    NumPy sorts two-byte integers by radix sort. It sorts eight-byte ones with vector instructions, but has no such
    argsort: so a key and its position are packed into one integer, where they fit, and sorted together.
    """
    bits = _position_bits(keys)
    if bits is None:
        return _argsort(keys)
    packed = _sort_packed(keys.astype(np.int64), bits)
    packed &= (1 << bits) - 1
    return packed


def stable_sort(keys: Int64Array) -> tuple[Int64Array, Int64Array]:
    """The keys in ascending order, and their `stable_argsort`; ``keys`` are overwritten to save memory."""
    bits = _position_bits(keys)
    if bits is None:
        order = _argsort(keys)
        return keys[order], order
    packed = _sort_packed(keys, bits)
    order = packed & ((1 << bits) - 1)
    packed >>= bits
    return packed, order


def _position_bits(keys: Indices) -> int | None:
    """How many bits the position of a key takes; None if keys and positions are not to be packed."""
    bits, largest = len(keys).bit_length(), int(keys.max(initial=0))
    return None if largest < 2**16 or largest.bit_length() + bits > 63 else bits


def _argsort(keys: Indices) -> Int64Array:
    return np.argsort(keys.astype(np.uint16, copy=False) if keys.max(initial=0) < 2**16 else keys, kind="stable")


def _sort_packed(keys: Int64Array, bits: int) -> Int64Array:
    """Keys with their positions in the last ``bits``, sorted in place."""
    positions: Indices = np.arange(len(keys), dtype=np.int32 if bits < 32 else np.int64)
    keys <<= bits
    keys |= positions
    keys.sort()
    return keys
