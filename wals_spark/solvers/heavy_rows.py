"""Rows of very many observations, spread over the blocks of the other side: each sums what it holds of them.

All that solving a row needs of its observations are sums over them,

    Σ w y yᵀ        Σ s y        Σ k        f² + f + 1 numbers

so they can be made where the fixed rows lie. Else an item that every user has would be one task, which is sent every
user's row. Take the example of `blocks.py`, i1 and i4 in item block 0, and let i1, whom all have, be spread:

    in-block of item block 0          loses i1's observations, and users whom nothing else there needs
    part for user block 0             i1's observations by ann and bob, with positions in what that block used to send
    share of user block 0             the same with positions of its own rows; its out-block is the shorter for it
    in each half-iteration of items   user block 0 sends item block 0 the sums of its share, besides rows for i4

`split_heavy_rows` makes the first two, `take_heavy_parts` the third, `sums` is the work, and `HeavyRowSums` what arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.dictionary import compact_dictionary, count_indices, narrow_integers
from wals_spark.arrays.types import BoolArray, Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.in_out import OutBlock
from wals_spark.blocks.records import GroupedRecords, Record, cut, cut_typed, join, join_typed
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.solvers.kernels import numba_kernels
from wals_spark.solvers.normal_equations import HeavyRowSums, add_observations

HeavyParts = dict[int, WeightedBlock]
"""Destination block → a row for each of its spread rows, with positions of this block's own rows."""

_FEWEST = 100_000  # observations: some 10 ms of a core; below that no row is worth another stage
_SHARE, _PART, _STILL = "share_", "part_", "still"


def row_limit(setting: int, observations: float, n_blocks: int) -> int:
    """The most observations that a row may have and still be one task's: the ``setting``, or half of a mean block."""
    return setting or max(_FEWEST, int(observations / (2 * n_blocks)))


@dataclass(frozen=True)
class HeavyRows:
    """What a block knows of its rows that are spread.

    Attributes
    ----------
    rows : int64, shape (n_spread,)
        Which rows of the block they are, ascending.
    sources : int64, shape (n_sources,)
        The blocks that send sums of them, ascending.
    times : int64, shape (n_distinct,)
        How many of their observations have each of the weighed block's pairs of w and t.
    """

    rows: Int64Array
    sources: Int64Array
    times: Int64Array

    @property
    def arrays(self) -> dict[str, Int64Array]:
        """By the names that they have among a block's other arrays."""
        return {"spread_rows": self.rows, "spread_sources": self.sources, "spread_times": self.times}

    def records(self) -> Iterator[Record]:
        """Cut for travel; `from_records` is the way back."""
        for name, array in self.arrays.items():
            yield from cut_typed(name, array)

    @classmethod
    def from_records(cls, records: GroupedRecords) -> HeavyRows:
        """Put together from `group_records`; of most blocks there is nothing."""
        return cls(*join_typed(records, NO_HEAVY_ROWS.arrays).values())


NO_HEAVY_ROWS = HeavyRows(*np.empty((3, 0), dtype=np.int64))


class SplitBlock(NamedTuple):
    """A weighed block without the observations of its spread rows, and what the blocks of the other side get of them.

    ``still`` has, of the rows that a source block was to send, those that are needed still.
    """

    rest: WeightedBlock
    spread: HeavyRows
    parts: dict[int, WeightedBlock]
    still: dict[int, Indices]

    def records(self) -> Iterator[Record]:
        """Cut for travel; what goes to a source block has it for its peer."""
        yield from self.rest.records()
        yield from self.spread.records()
        for source, part in self.parts.items():
            yield from part.records(_PART, peer=source)
        for source, rows in self.still.items():
            yield from cut(_STILL, rows.astype(np.int32), peer=source)


def split_heavy_rows(block: WeightedBlock, limit: int) -> SplitBlock:
    """Take the observations of rows that have more than ``limit`` out of a block."""
    counts = block.counts
    has_heavy_rows = counts > limit
    rows = np.flatnonzero(has_heavy_rows)
    away = np.repeat(has_heavy_rows, counts)
    staying = block.positions[~away]
    needed = np.zeros(int(block.offsets[-1]) if len(block.offsets) else 0, dtype=bool)
    needed[staying] = True
    place = np.concatenate([[0], np.cumsum(needed)]).astype(np.int32)  # of a received row, among those still needed
    rest = replace(
        block,
        indptr=np.concatenate([[0], np.cumsum(np.where(has_heavy_rows, 0, counts))]),
        positions=narrow_integers(place[staying], int(place[-1]), fewest=2),
        offsets=place[block.offsets].astype(np.int64),
        indices=block.indices[~away],
    )
    spread = block.only(rows)
    of_source = np.searchsorted(block.offsets, spread.positions, side="right") - 1
    parts: dict[int, WeightedBlock] = {}
    still: dict[int, Indices] = {}
    for source in np.unique(of_source).tolist():
        begin, end = block.offsets[source], block.offsets[source + 1]
        parts[source] = _of_source(spread, of_source == source, int(begin))
        still[source] = np.flatnonzero(needed[begin:end])
    times = count_indices(spread.indices, len(block.excess_weight))
    return SplitBlock(rest, HeavyRows(rows, np.array(sorted(parts), dtype=np.int64), times), parts, still)


def _of_source(spread: WeightedBlock, chosen: BoolArray, begin: int) -> WeightedBlock:
    before = np.concatenate([[0], np.cumsum(chosen)])
    pairs = np.stack([spread.excess_weight, spread.target], axis=1)
    indices, pairs = compact_dictionary(spread.indices[chosen], pairs)
    return replace(
        spread,
        indptr=before[spread.indptr],
        positions=(spread.positions[chosen] - begin).astype(np.int32),
        offsets=np.empty(0, dtype=np.int64),
        indices=narrow_integers(indices, len(pairs), fewest=2),
        excess_weight=np.ascontiguousarray(pairs[:, 0]),
        target=np.ascontiguousarray(pairs[:, 1]),
    )


def address_heavy_parts(block: int, records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    """Address what `SplitBlock.records` has for the source blocks, each piece saying that it comes from ``block``."""
    for record in records:
        if record.name.startswith(_PART) or record.name == _STILL:
            yield record.peer, record._replace(peer=block)


def take_heavy_parts(records: GroupedRecords, out_block: OutBlock) -> tuple[OutBlock, HeavyParts]:
    """What a source block sends from now on, and what it sums: its out-block and `address_heavy_parts` the destinations in."""
    out_block, shares = dict(out_block), _shares(records, _PART)
    for destination, part in shares.items():
        sent = out_block.pop(destination)
        shares[destination] = replace(part, positions=sent[part.positions])
        still = join(records.get(_STILL, {}).get(destination, ()), np.int32)
        if len(still):
            out_block[destination] = sent[still]
    return out_block, shares


def heavy_part_records(shares: HeavyParts) -> Iterator[Record]:
    """Cut shares for travel; `heavy_parts_from_records` is the way back."""
    for destination, share in shares.items():
        yield from share.records(_SHARE, peer=destination)


def heavy_parts_from_records(records: GroupedRecords) -> HeavyParts:
    """Put a block's shares together from `group_records`."""
    return _shares(records, _SHARE)


def _shares(records: GroupedRecords, prefix: str) -> HeavyParts:
    peers = {peer for name, by_peer in records.items() if name.startswith(prefix) for peer in by_peer}
    return {peer: WeightedBlock.from_records(records, prefix, peer) for peer in sorted(peers)}


def sums(share: WeightedBlock, factors: Float32Array, unobserved_weight_in_confidence: float) -> Float64Array:
    """Of each row of a share the sums above, one after the other, shape (n_spread, width² + width + 1).

    ``factors`` are those of the block that has the share, ``unobserved_weight_in_confidence`` is the objective's.
    """
    width = factors.shape[1]
    loops = numba_kernels()
    add = loops.normal_equations if loops else add_observations
    found = np.zeros((share.n_rows, width * width + width + 1))
    for row in range(share.n_rows):
        lhs, rhs = np.zeros((1, width, width)), np.zeros((1, width))
        terms = (
            share.indptr,
            share.positions,
            share.indices,
            share.excess_weight,
            share.target,
            unobserved_weight_in_confidence,
            factors,
        )
        constant = add(*terms, np.array([row]), lhs, rhs)
        found[row] = np.concatenate([lhs.ravel(), rhs.ravel(), [constant]])
    return found


def add_partial_sums(spread: HeavyRows, arrived: Mapping[int, Iterable[Record]], width: int) -> HeavyRowSums | None:
    """What the sources have sent, by source, added up in their order; None where no row is spread.

    Raises
    ------
    FileNotFoundError
        If a source has sent none, for it did not find what it had left on its machine.
    """
    if not len(spread.rows):
        return None
    total = np.zeros((len(spread.rows), width * width + width + 1))
    for source in spread.sources.tolist():
        if source not in arrived:
            raise FileNotFoundError(f"block {source} sent no sums")
        total += join(arrived[source], np.float64).reshape(total.shape)
    lhs = total[:, : width * width].reshape(-1, width, width)
    return HeavyRowSums(spread.rows, lhs, total[:, width * width : -1], total[:, -1])
