"""In-blocks and out-blocks: who needs whose factors, laid out once before the first iteration.

Users and items are hashed into blocks. Take two user blocks and two item blocks, and let user block 0 hold the
users ann (who has i1, i7) and bob (who has i1, i4), with i1 and i4 in item block 0 and i7 in item block 1:

    in-block of user block 0        indptr     [0, 2, 4]       ann has two observations, bob two
                                    positions  [0, 2, 0, 1]    into the rows received: i1, i4 | i7
                                    offsets    [0, 2, 3]       rows 0–1 come from item block 0, row 2 from block 1
    out-block of item block 0       to user block 0 send i1, i4 (and no other item it may hold)

so a half-iteration ships each needed row of factors once to each block that needs it, and finds it there by
position. `layout.py` makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from wals_spark.arrays.dictionary import count_indices, dictionary_encode, narrow_integers
from wals_spark.arrays.types import AnyArray, Float32Array, FloatArray, Indices, Int32Array, Int64Array
from wals_spark.blocks.records import GroupedRecords, Record, cut, cut_typed, join, join_typed

_NONE = np.empty(0)


@dataclass(frozen=True)
class InBlock:
    """The observations of a block's rows, in CSR form; ratings repeat, so each is the number of a level (`coding.py`).

    Attributes
    ----------
    indptr : int64, shape (n_rows + 1,)
    positions : uint8, uint16 or int32, shape (n_observed,)
        Of the other side's rows, among those this block receives.
    codes : uint8, uint16 or int32, shape (n_observed,)
        Into the levels.
    levels : float32, shape (n_levels,)
        The ratings that there are, each once if they are few.
    offsets : int64, shape (n_sources + 1,)
        Where the rows received from each source block begin.
    weights : float32, shape (n_observed,), or empty
        The caller's own weights; empty if the input has none.
    """

    indptr: Int64Array
    positions: Indices
    indices: Indices
    dictionary: Float32Array
    offsets: Int64Array
    weights: Float32Array

    @classmethod
    def of(
        cls,
        indptr: Int64Array,
        positions: Indices,
        ratings: FloatArray,
        offsets: Int64Array,
        weights: FloatArray = _NONE,
    ) -> InBlock:
        """Of positions and ratings as they are, each in as few bytes as will do."""
        indices, dictionary = dictionary_encode(ratings.astype(np.float32, copy=False))
        return cls(
            indptr,
            narrow_integers(positions, int(offsets[-1])),
            indices,
            dictionary,
            offsets,
            weights.astype(np.float32),
        )

    @property
    def n_rows(self) -> int:
        """Rows that this block solves."""
        return max(0, len(self.indptr) - 1)

    @property
    def ratings(self) -> Float32Array:
        """The rating of each observation, shape (n_observed,)."""
        return self.dictionary[self.indices]

    @property
    def sum_of_ratings(self) -> float:
        """Of all observations, in float64."""
        times = count_indices(self.indices, len(self.dictionary))
        return float(times @ self.dictionary.astype(np.float64))

    @property
    def counts(self) -> Int64Array:
        """Observations of each row, shape (n_rows,)."""
        return np.diff(self.indptr)

    def records(self) -> Iterator[Record]:
        """Cut for travel; `from_records` is the way back."""
        for array in fields(self):
            yield from cut_typed(array.name, getattr(self, array.name))

    @classmethod
    def from_records(cls, records: GroupedRecords) -> InBlock:
        """Put together from `group_records`; a block that holds no row gives an empty one."""
        return cls(**join_typed(records, (array.name for array in fields(cls))))


OutBlock = dict[int, Int32Array]
"""Destination block → the rows of this block that it needs, ascending."""


def out_block_records(out_block: OutBlock) -> Iterator[Record]:
    """Cut an out-block for travel."""
    for destination, rows in out_block.items():
        yield from cut("out", rows, peer=destination)


def out_block_from_records(records: GroupedRecords) -> OutBlock:
    """Put an out-block together from `group_records`."""
    return {peer: join(parts, np.int32) for peer, parts in sorted(records.get("out", {}).items())}


def received_rows(
    records: GroupedRecords,
    offsets: Int64Array,
    width: int,
    dtype: npt.DTypeLike = np.float32,
    at_hand: Iterable[tuple[int, AnyArray, Indices]] = (),
) -> AnyArray:
    """The other side's rows in the order that `InBlock.positions` counts in, shape (n_received, width).

    The pieces are used up, each freed as it is copied. ``offsets`` are the in-block's; rows are of factors, or of
    anything else that each of them has. Of source blocks ``at_hand`` nothing was sent: each with all its rows and
    which of them are needed.

    Raises
    ------
    ValueError
        If a source block sent another number of rows than the in-block was laid out for.
    """
    if not len(offsets):
        return np.empty((0, width), dtype=dtype)
    received = np.empty((int(offsets[-1]), width), dtype=dtype)
    filled = 0
    for source, parts in records.pop("received", {}).items():
        while parts:
            part = parts.pop()
            rows = np.frombuffer(part.payload, dtype=dtype).reshape(-1, width)
            begin = int(offsets[source]) + part.start
            received[begin : begin + len(rows)] = rows
            filled += len(rows)
    for source, rows, needed in at_hand:
        begin = int(offsets[source])
        np.take(rows, needed, axis=0, out=received[begin : begin + len(needed)], mode="clip")  # or it makes a copy
        filled += len(needed)
    if filled != len(received):
        raise ValueError(f"received {filled} rows where {len(received)} were expected")
    return received
