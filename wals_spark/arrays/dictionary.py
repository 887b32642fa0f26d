"""Numbers that repeat, as a small number each: which of the levels it is.

Ratings are few (stars, counts of plays, 1), so a byte or two an observation are stored and moved, not four. Where
nearly all differ (faded by age, say), each is a level of its own: looking for equal ones would cost more than all else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.types import AnyArray, Float64Array, FloatArray, Indices, Int64Array

_PROBED = 2**17


def narrow_integers(values: Indices, n_distinct: int, *, fewest: int = 1) -> Indices:
    """Numbers from 0 to below ``n_distinct`` in 1, 2 or 4 bytes: as few as hold them all, and at least ``fewest``."""
    if n_distinct <= 2**8 and fewest == 1:
        return values.astype(np.uint8)
    return values.astype(np.uint16 if n_distinct <= 2**16 else np.int32)


def as_float32_if_exact(values: Float64Array) -> FloatArray:
    """A copy of the values in 4 bytes each if all of them fit exactly, as small integers do, else in 8."""
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return short if (short == values).all() else values.copy()


def dictionary_encode(values: AnyArray) -> tuple[Indices, AnyArray]:
    """``indices``, shape (n,), and ``dictionary``, so that ``levels[codes]`` are the values.

    A level for each distinct value; but a level for each value if there are more than 2¹⁷ and of these first ones seven
    in eight are distinct.
    """
    if len(values) > _PROBED and len(_encoded(values[:_PROBED]).dictionary) > _PROBED * 7 // 8:
        return np.arange(len(values), dtype=np.int32), values
    encoded = _encoded(values)
    dictionary = as_numpy(encoded.dictionary)
    return narrow_integers(as_numpy(encoded.indices), len(dictionary)), dictionary


def count_indices(indices: Indices, n: int) -> Int64Array:
    """How often each number from 0 to below ``n`` is there; `np.bincount` copies them to 8 bytes each: here some."""
    times = np.zeros(n, dtype=np.int64)
    step = max(_PROBED, n)
    for begin in range(0, len(indices), step):
        times += np.bincount(indices[begin : begin + step], minlength=n)
    return times


def compact_dictionary(indices: Indices, dictionary: AnyArray) -> tuple[Indices, AnyArray]:
    """The same values with no more levels than there are values."""
    if len(dictionary) <= len(indices):
        return indices, dictionary
    return narrow_integers(np.arange(len(indices)), len(indices)), dictionary[indices]


def concatenate_dictionaries(parts: Sequence[tuple[Indices, AnyArray]]) -> tuple[Indices, AnyArray]:
    """Codes one after the other, and the levels of all of them, `dictionary_encode` anew."""
    places, dictionary = dictionary_encode(np.concatenate([dictionary for _, dictionary in parts]))
    of_parts = np.split(places, np.cumsum([len(dictionary) for _, dictionary in parts])[:-1])
    return np.concatenate([place[indices] for place, (indices, _) in zip(of_parts, parts, strict=True)]), dictionary


def _encoded(values: AnyArray) -> pa.DictionaryArray:
    return as_arrow(values).dictionary_encode()
