"""Heavy rows: rows with so many observations that the blocks of the other side compute their normal equations in parts.

To solve a row, only these sums over its observations are needed,

    Σ w y yᵀ        Σ s y        Σ k        f² + f + 1 numbers

and they can be computed where the fixed rows are. Otherwise an item that every user has would be one task, which
receives the factors of every user. Take the example of `blocks/in_out.py`, i1 and i4 in item block 0, and let i1, which
all users have, be a heavy row:

    in-block of item block 0          loses the observations of i1, and the users that no other row there needs
    part sent to user block 0         the observations of i1 by ann and bob, with positions into what that block sent
    part in user block 0              the same with positions into its own rows; its out-block sends fewer rows
    in each half-iteration of items   user block 0 sends item block 0 the partial normal equations of its part, besides
                                      the rows for i4

`split_heavy_rows` makes the first two, `take_heavy_parts` the third, `partial_normal_equations` the fourth, and
`add_partial_sums` adds up what arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from wals_spark.arrays.dictionary import compact_dictionary, count_indices, narrow_integers
from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.encoding import ArrayBlock, ArraySource, NamedArray, Record, join
from wals_spark.blocks.in_out import OutBlock
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.solvers.kernels import numba_kernels
from wals_spark.solvers.normal_equations import HeavyRowSums, add_observations
from wals_spark.solvers.systems import Observations

HeavyParts = dict[int, WeightedBlock]
"""Destination block -> its heavy rows, with the observations whose fixed rows are in this block."""

_MIN_OBSERVATIONS = 100_000  # some 10 ms of a core: a row with fewer is not worth a second stage
_PART, _SENT_PART, _NEEDED = "part", "sent_part", "needed"


def row_limit(threshold: int, observations: float, n_blocks: int) -> int:
    """The most observations of a row that one task solves: the setting ``threshold``, or half of a mean block."""
    return threshold or max(_MIN_OBSERVATIONS, int(observations / (2 * n_blocks)))


@dataclass(frozen=True)
class HeavyRows(ArrayBlock):
    """What a block knows of its heavy rows.

    Attributes
    ----------
    rows : int64, shape (n_heavy,)
        Their numbers in the block, ascending.
    sources : int64, shape (n_sources,)
        The blocks that send partial normal equations of them, ascending.
    times : int64, shape (n_distinct,)
        How many of their observations have each of the weighted block's pairs of w and t.
    """

    kind: ClassVar[str] = "heavy"

    rows: Int64Array
    sources: Int64Array
    times: Int64Array


NO_HEAVY_ROWS = HeavyRows(*np.empty((3, 0), dtype=np.int64))


class SplitBlock(NamedTuple):
    """A weighted block split by `split_heavy_rows`.

    Attributes
    ----------
    light
        The block without the observations of its heavy rows.
    heavy
        The heavy rows.
    parts
        By source block, the observations of heavy rows whose fixed rows that block has.
    needed
        By source block, which of the rows that it would have sent the light rows need.
    """

    light: WeightedBlock
    heavy: HeavyRows
    parts: dict[int, WeightedBlock]
    needed: dict[int, Indices]

    def arrays(self) -> Iterator[NamedArray]:
        """As named arrays; the peer of what goes to a source block is that block."""
        yield from self.light.arrays()
        yield from self.heavy.arrays()
        for source, part in self.parts.items():
            yield from part.arrays(_SENT_PART, peer=source)
        for source, rows in self.needed.items():
            yield NamedArray(f"{_NEEDED}.rows", source, rows.astype(np.int32))


def split_heavy_rows(block: WeightedBlock, limit: int) -> SplitBlock:
    """Take the observations of rows that have more than ``limit`` of them out of a block."""
    counts = block.counts
    is_heavy = counts > limit
    rows = np.flatnonzero(is_heavy)
    of_heavy_row = np.repeat(is_heavy, counts)
    light_positions = block.positions[~of_heavy_row]
    is_needed = np.zeros(int(block.offsets[-1]) if len(block.offsets) else 0, dtype=bool)
    is_needed[light_positions] = True
    place = np.concatenate([[0], np.cumsum(is_needed)]).astype(np.int32)  # of a received row, among those needed
    light = replace(
        block,
        indptr=np.concatenate([[0], np.cumsum(np.where(is_heavy, 0, counts))]),
        positions=narrow_integers(place[light_positions], int(place[-1]), min_bytes=2),
        offsets=place[block.offsets].astype(np.int64),
        indices=block.indices[~of_heavy_row],
    )
    heavy = block.only(rows)
    source_of = np.searchsorted(block.offsets, heavy.positions, side="right") - 1
    parts: dict[int, WeightedBlock] = {}
    needed: dict[int, Indices] = {}
    for source in np.unique(source_of).tolist():
        begin, end = block.offsets[source], block.offsets[source + 1]
        parts[source] = _part(heavy, source_of == source, int(begin))
        needed[source] = np.flatnonzero(is_needed[begin:end])
    times = count_indices(heavy.indices, len(block.excess_weight))
    return SplitBlock(light, HeavyRows(rows, np.array(sorted(parts), dtype=np.int64), times), parts, needed)


def _part(heavy: WeightedBlock, is_of_source: BoolArray, begin: int) -> WeightedBlock:
    """The observations of heavy rows that one source block has, with positions from its first received row on."""
    n_before = np.concatenate([[0], np.cumsum(is_of_source)])
    pairs = np.stack([heavy.excess_weight, heavy.target], axis=1)
    indices, pairs = compact_dictionary(heavy.indices[is_of_source], pairs)
    return replace(
        heavy,
        indptr=n_before[heavy.indptr],
        positions=(heavy.positions[is_of_source] - begin).astype(np.int32),
        offsets=np.empty(0, dtype=np.int64),
        indices=narrow_integers(indices, len(pairs), min_bytes=2),
        excess_weight=np.ascontiguousarray(pairs[:, 0]),
        target=np.ascontiguousarray(pairs[:, 1]),
    )


def address_heavy_parts(block: int, records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    """Address the records of `SplitBlock` that are for source blocks, each with ``block`` as the peer it comes from."""
    for record in records:
        if record.name.partition(".")[0] in (_SENT_PART, _NEEDED):
            yield record.peer, record._replace(peer=block)


def take_heavy_parts(arrays: ArraySource, out_block: OutBlock) -> tuple[OutBlock, HeavyParts]:
    """What a source block sends from now on, and the heavy parts that it computes.

    ``arrays`` are those that `address_heavy_parts` addressed to it.
    """
    sent, parts = dict(out_block), _read_parts(arrays, _SENT_PART)
    for destination, part in parts.items():
        rows = sent.pop(destination)
        parts[destination] = replace(part, positions=rows[part.positions])
        needed = arrays.array(f"{_NEEDED}.rows", destination)
        if len(needed):
            sent[destination] = rows[needed]
    return OutBlock.of(sent), parts


def heavy_part_arrays(parts: HeavyParts) -> Iterator[NamedArray]:
    """Heavy parts as named arrays; `read_heavy_parts` reads them."""
    for destination, part in parts.items():
        yield from part.arrays(_PART, peer=destination)


def read_heavy_parts(arrays: ArraySource) -> HeavyParts:
    """The heavy parts of a block."""
    return _read_parts(arrays, _PART)


def _read_parts(arrays: ArraySource, kind: str) -> HeavyParts:
    return {peer: WeightedBlock.read(arrays, kind, peer=peer) for peer in arrays.peers(kind)}


def partial_normal_equations(
    part: WeightedBlock, factors: Float32Array, unobserved_weight_in_confidence: float
) -> Float64Array:
    """The sums above of each row of a part, one after the other, shape (n_heavy, width² + width + 1).

    ``factors`` are those of the block that has the part; ``unobserved_weight_in_confidence`` is the objective's.
    """
    width = factors.shape[1]
    kernels = numba_kernels()
    add = kernels.normal_equations if kernels else add_observations
    observations = Observations.of(part, factors, unobserved_weight_in_confidence)
    sums = np.zeros((part.n_rows, width * width + width + 1))
    for row in range(part.n_rows):
        lhs, rhs = np.zeros((1, width, width)), np.zeros((1, width))
        constant = add(observations, np.array([row]), lhs, rhs)
        sums[row] = np.concatenate([lhs.ravel(), rhs.ravel(), [constant]])
    return sums


def add_partial_sums(heavy: HeavyRows, arrived: Mapping[int, Iterable[Record]], width: int) -> HeavyRowSums | None:
    """Add up what the sources sent, by source, in their order; None where no row is heavy.

    Raises
    ------
    FileNotFoundError
        If a source sent none, because it did not find its part in the cache of its machine.
    """
    if not len(heavy.rows):
        return None
    total = np.zeros((len(heavy.rows), width * width + width + 1))
    for source in heavy.sources.tolist():
        if source not in arrived:
            raise FileNotFoundError(f"block {source} sent no partial normal equations")
        total += join(arrived[source], np.float64).reshape(total.shape)
    lhs = total[:, : width * width].reshape(-1, width, width)
    return HeavyRowSums(heavy.rows, lhs, total[:, width * width : -1], total[:, -1])
