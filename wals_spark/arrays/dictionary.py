"""Dictionary encoding: repeated values as narrow indices into a dictionary of the distinct ones.

Distinct ratings are few (stars, play counts, 1), so an observation is stored and sent in one or two bytes, not four.
Where nearly all values are distinct (ratings decayed by age, say), the dictionary is the values themselves: searching
for equal ones would cost more than everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.types import AnyArray, Float64Array, FloatArray, Indices, Int64Array

_SAMPLE = 2**17  # values looked at first, and indices counted at a time


def narrow_integers(values: Indices, bound: int, *, min_bytes: int = 1) -> Indices:
    """Integers from 0 to ``bound`` - 1 in as few bytes as hold them all, 1, 2 or 4, but at least ``min_bytes``."""
    if bound <= 2**8 and min_bytes == 1:
        return values.astype(np.uint8)
    return values.astype(np.uint16 if bound <= 2**16 else np.int32)


def as_float32_if_exact(values: Float64Array) -> FloatArray:
    """A copy of the values as float32 if all are exact in it, as small integers are; else as float64."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return single if (single == values).all() else values.copy()


def dictionary_encode(values: AnyArray) -> tuple[Indices, AnyArray]:
    """``indices``, shape (n,), and ``dictionary``, such that ``dictionary[indices]`` are the values.

    The dictionary has each distinct value once. But of more than 2¹⁷ values, if more than seven eighths of the first
    2¹⁷ are distinct, the dictionary is the values as they are.
    """
    if len(values) > _SAMPLE and len(_arrow_encoded(values[:_SAMPLE]).dictionary) > _SAMPLE * 7 // 8:
        return np.arange(len(values), dtype=np.int32), values
    encoded = _arrow_encoded(values)
    dictionary = as_numpy(encoded.dictionary)
    return narrow_integers(as_numpy(encoded.indices), len(dictionary)), dictionary


def count_indices(indices: Indices, n: int) -> Int64Array:
    """How often each integer from 0 to ``n`` - 1 occurs, shape (n,).

    `np.bincount` copies all indices to 8 bytes each; this function copies a batch at a time.
    """
    counts = np.zeros(n, dtype=np.int64)
    step = max(_SAMPLE, n)
    for begin in range(0, len(indices), step):
        counts += np.bincount(indices[begin : begin + step], minlength=n)
    return counts


def compact_dictionary(indices: Indices, dictionary: AnyArray) -> tuple[Indices, AnyArray]:
    """The same values with a dictionary that is not longer than the indices."""
    if len(dictionary) <= len(indices):
        return indices, dictionary
    return narrow_integers(np.arange(len(indices)), len(indices)), dictionary[indices]


def concatenate_dictionaries(encoded: Sequence[tuple[Indices, AnyArray]]) -> tuple[Indices, AnyArray]:
    """Concatenate dictionary-encoded arrays: their values in order, with one dictionary for all."""
    all_indices, dictionary = dictionary_encode(np.concatenate([dictionary for _, dictionary in encoded]))
    bounds = np.cumsum([len(dictionary) for _, dictionary in encoded])[:-1]
    new_indices = np.split(all_indices, bounds)  # for each array, where its dictionary's values are in the new one
    return np.concatenate([new[indices] for new, (indices, _) in zip(new_indices, encoded, strict=True)]), dictionary


def _arrow_encoded(values: AnyArray) -> pa.DictionaryArray:
    return as_arrow(values).dictionary_encode()
