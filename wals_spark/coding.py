"""Numbers that repeat, as a small number each: its place among those that there are.

Ratings are few (stars, counts of plays, 1), so a byte or two an observation are stored and moved, not four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.integer[Any]]


def narrowest(values: Ints, n_distinct: int) -> Ints:
    """Numbers from 0 to below ``n_distinct`` in one byte each if they fit, else in two, else in four."""
    return values.astype(np.uint8 if n_distinct <= 2**8 else np.uint16 if n_distinct <= 2**16 else np.int32)


def coded(values: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
    """``codes``, shape (n,), and ``levels``, each distinct value once: ``levels[codes]`` are the values, bit by bit."""
    encoded = pa.array(values).dictionary_encode()
    levels = encoded.dictionary.to_numpy()
    return narrowest(encoded.indices.to_numpy(), len(levels)), levels


def only_used(codes: Ints, levels: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
    """The same values without levels that none of them has, if these would be more than the values."""
    if len(levels) <= len(codes):
        return codes, levels
    used, codes = np.unique(codes, return_inverse=True)
    return narrowest(codes, len(used)), levels[used]


def together(parts: Sequence[tuple[Ints, npt.NDArray[Any]]]) -> tuple[Ints, npt.NDArray[Any]]:
    """Codes one after the other, and the levels of all of them, each once."""
    places, levels = coded(np.concatenate([levels for _, levels in parts]))
    of_parts = np.split(places, np.cumsum([len(levels) for _, levels in parts])[:-1])
    return np.concatenate([place[codes] for place, (codes, _) in zip(of_parts, parts, strict=True)]), levels
