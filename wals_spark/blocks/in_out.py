"""In-blocks and out-blocks: which rows of the other side a block's observations refer to, and which block sends them.

Users and items are hashed into blocks. Take two user blocks and two item blocks, and let user block 0 hold the
users ann (who has i1, i7) and bob (who has i1, i4), with i1 and i4 in item block 0 and i7 in item block 1:

    in-block of user block 0        indptr     [0, 2, 4]       ann has two observations, bob two
                                    positions  [0, 2, 0, 1]    into the received rows: i1, i4 | i7
                                    offsets    [0, 2, 3]       rows 0-1 come from item block 0, row 2 from block 1
    out-block of item block 0       to user block 0 send i1, i4 (and no other item of the block)

so a half-iteration sends each row of factors that a block needs to it once, and the block finds the row by position.
`build.py` builds the blocks before the first iteration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from wals_spark.arrays.dictionary import count_indices, dictionary_encode, narrow_integers
from wals_spark.arrays.distribution import Distribution
from wals_spark.arrays.types import AnyArray, Float32Array, FloatArray, Indices, Int32Array, Int64Array
from wals_spark.blocks.encoding import ArrayBlock, GroupedRecords

_NONE = np.empty(0)


@dataclass(frozen=True)
class InBlock(ArrayBlock):
    """The observations of a block's rows, in CSR form, with dictionary-encoded ratings.

    Attributes
    ----------
    indptr : int64, shape (n_rows + 1,)
    positions : uint8, uint16 or int32, shape (n_observed,)
        Into the rows of the other side that this block receives.
    indices : uint8, uint16 or int32, shape (n_observed,)
        Into the dictionary.
    dictionary : float32, shape (n_distinct,)
        The distinct ratings; one entry per observation where nearly all ratings differ.
    offsets : int64, shape (n_sources + 1,)
        Where the rows received from each source block begin.
    weights : float32, shape (n_observed,), or empty
        The user's own weights; empty if the input has none.
    """

    kind: ClassVar[str] = "in"

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
        """Encode ratings with a dictionary, and keep positions in as few bytes as hold them."""
        indices, dictionary = dictionary_encode(ratings.astype(np.float32, copy=False))
        positions = narrow_integers(positions, int(offsets[-1]))
        return cls(indptr, positions, indices, dictionary, offsets, weights.astype(np.float32))

    @property
    def n_rows(self) -> int:
        """Rows that this block solves."""
        return max(0, len(self.indptr) - 1)

    @property
    def ratings(self) -> Float32Array:
        """The rating of each observation, shape (n_observed,)."""
        return self.dictionary[self.indices]

    @property
    def rating_distribution(self) -> Distribution:
        """The ratings of all observations."""
        return Distribution.of(self.dictionary, count_indices(self.indices, len(self.dictionary)))

    @property
    def total_weight(self) -> float:
        """The sum of the user's own weights; without any, each is 1."""
        return float(self.weights.sum(dtype=np.float64)) if self.weights.size else float(len(self.positions))

    @property
    def counts(self) -> Int64Array:
        """Observations of each row, shape (n_rows,)."""
        return np.diff(self.indptr)


@dataclass(frozen=True, eq=False)
class OutBlock(ArrayBlock, Mapping[int, Int32Array]):
    """Destination block -> the rows of this block that it needs, ascending.

    Attributes
    ----------
    destinations : int64, shape (n_destinations,)
        Ascending.
    indptr : int64, shape (n_destinations + 1,)
        ``rows[indptr[k]:indptr[k + 1]]`` are the rows that ``destinations[k]`` needs.
    rows : int32, shape (n_sent,)
    """

    kind: ClassVar[str] = "out"

    destinations: Int64Array
    indptr: Int64Array
    rows: Int32Array

    @classmethod
    def of(cls, rows_by_destination: Mapping[int, Indices]) -> OutBlock:
        """Build an out-block from the rows that each destination needs."""
        destinations = sorted(rows_by_destination)
        rows = [np.empty(0, dtype=np.int32), *(rows_by_destination[d].astype(np.int32) for d in destinations)]
        indptr = np.cumsum([len(part) for part in rows], dtype=np.int64)
        return cls(np.array(destinations, dtype=np.int64), indptr, np.concatenate(rows))

    def __getitem__(self, destination: int) -> Int32Array:
        number = int(np.searchsorted(self.destinations, destination))
        if number == len(self.destinations) or self.destinations[number] != destination:
            raise KeyError(destination)
        return self.rows[self.indptr[number] : self.indptr[number + 1]]

    def __iter__(self) -> Iterator[int]:
        return iter(self.destinations.tolist())

    def __len__(self) -> int:
        return len(self.destinations)


def received_rows(
    records: GroupedRecords,
    offsets: Int64Array,
    width: int,
    dtype: npt.DTypeLike = np.float32,
    cached: Iterable[tuple[int, AnyArray, Indices]] = (),
) -> AnyArray:
    """The rows of the other side in the order that `InBlock.positions` counts in, shape (n_received, width).

    Records named ``received`` are consumed, each freed as it is copied. ``offsets`` are the in-block's. Rows of
    ``cached`` source blocks are on this machine, so nothing was sent: the block's number, all its rows, and which of
    them this block needs.

    Raises
    ------
    ValueError
        If a source block sent another number of rows than the in-block was built for.
    """
    if not len(offsets):
        return np.empty((0, width), dtype=dtype)
    received = np.empty((int(offsets[-1]), width), dtype=dtype)
    n_filled = 0
    for source, parts in records.pop("received", {}).items():
        while parts:
            part = parts.pop()
            rows = np.frombuffer(part.payload, dtype=dtype).reshape(-1, width)
            begin = int(offsets[source]) + part.start
            received[begin : begin + len(rows)] = rows
            n_filled += len(rows)
    for source, rows, needed in cached:
        begin = int(offsets[source])
        np.take(rows, needed, axis=0, out=received[begin : begin + len(needed)], mode="clip")  # or it makes a copy
        n_filled += len(needed)
    if n_filled != len(received):
        raise ValueError(f"received {n_filled} rows where {len(received)} were expected")
    return received
