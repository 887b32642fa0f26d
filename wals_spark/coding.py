"""Numbers that repeat, as a small number each: which of the levels it is.

Ratings are few (stars, counts of plays, 1), so a byte or two an observation are stored and moved, not four. Where
nearly all differ (faded by age, say), each is a level of its own: looking for equal ones would cost more than all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wals_spark.arrow import as_arrow, as_numpy

Ints = npt.NDArray[np.integer[Any]]

_PROBED = 2**17


def narrowest(values: Ints, n_distinct: int, *, fewest: int = 1) -> Ints:
    """Numbers from 0 to below ``n_distinct`` in 1, 2 or 4 bytes: as few as hold them all, and at least ``fewest``."""
    if n_distinct <= 2**8 and fewest == 1:
        return values.astype(np.uint8)
    return values.astype(np.uint16 if n_distinct <= 2**16 else np.int32)


def shorter(values: npt.NDArray[np.float64]) -> npt.NDArray[np.floating[Any]]:
    """A copy of the values in 4 bytes each if all of them fit exactly, as small integers do, else in 8."""
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return short if (short == values).all() else values.copy()


def coded(values: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
    """``codes``, shape (n,), and ``levels``, so that ``levels[codes]`` are the values.

    A level for each distinct value; but a level for each value if there are more than 2¹⁷ and of these first ones seven
    in eight are distinct.
    """
    if len(values) > _PROBED and len(_encoded(values[:_PROBED]).dictionary) > _PROBED * 7 // 8:
        return np.arange(len(values), dtype=np.int32), values
    encoded = _encoded(values)
    levels = as_numpy(encoded.dictionary)
    return narrowest(as_numpy(encoded.indices), len(levels)), levels


def times_each(codes: Ints, n: int) -> npt.NDArray[np.int64]:
    """How often each number from 0 to below ``n`` is there; `np.bincount` copies them to 8 bytes each: here some."""
    times = np.zeros(n, dtype=np.int64)
    step = max(_PROBED, n)
    for begin in range(0, len(codes), step):
        times += np.bincount(codes[begin : begin + step], minlength=n)
    return times


def at_most_one_each(codes: Ints, levels: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
    """The same values with no more levels than there are values."""
    if len(levels) <= len(codes):
        return codes, levels
    return narrowest(np.arange(len(codes)), len(codes)), levels[codes]


def together(parts: Sequence[tuple[Ints, npt.NDArray[Any]]]) -> tuple[Ints, npt.NDArray[Any]]:
    """Codes one after the other, and the levels of all of them, `coded` anew."""
    places, levels = coded(np.concatenate([levels for _, levels in parts]))
    of_parts = np.split(places, np.cumsum([len(levels) for _, levels in parts])[:-1])
    return np.concatenate([place[codes] for place, (codes, _) in zip(of_parts, parts, strict=True)]), levels


def _encoded(values: npt.NDArray[Any]) -> pa.DictionaryArray:
    return as_arrow(values).dictionary_encode()
