"""Rows of very many observations, spread over the blocks of the other side: each sums what it holds of them.

All that solving a row needs of its observations are sums over them,

    Σ w y yᵀ        Σ s y        Σ k        f² + f + 1 numbers

so they can be made where the fixed rows lie. Else an item that every user has would be one task, which is sent every
user's row. Take the example of `blocks.py`, i1 and i4 in item block 0, and let i1, whom all have, be spread:

    in-block of item block 0          loses i1's observations, and users whom nothing else there needs
    part for user block 0             i1's observations by ann and bob, with positions in what that block used to send
    share of user block 0             the same with positions of its own rows; its out-block is the shorter for it
    in each half-iteration of items   user block 0 sends item block 0 the sums of its share, besides rows for i4

`divide` makes the first two, `taken` the third, `sums` is the work, and `Summed` what arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.blocks import OutBlock
from wals_spark.coding import at_most_one_each, narrowest, times_each
from wals_spark.kernels import compiled_loops
from wals_spark.normal_equations import Summed, add_observations
from wals_spark.pieces import Piece, Sorted, cut, cut_typed, join, join_typed
from wals_spark.weighing import WeighedBlock

Ints = npt.NDArray[np.integer[Any]]
Factors = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]
Shares = dict[int, WeighedBlock]
"""Destination block → a row for each of its spread rows, with positions of this block's own rows."""

_FEWEST = 100_000  # observations: some 10 ms of a core; below that no row is worth another stage
_SHARE, _PART, _STILL = "share_", "part_", "still"


def row_limit(setting: int, observations: float, n_blocks: int) -> int:
    """The most observations that a row may have and still be one task's: the ``setting``, or half of a mean block."""
    return setting or max(_FEWEST, int(observations / (2 * n_blocks)))


@dataclass(frozen=True)
class SpreadRows:
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

    rows: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """By the names that they have among a block's other arrays."""
        return {"spread_rows": self.rows, "spread_sources": self.sources, "spread_times": self.times}

    def pieces(self) -> Iterator[Piece]:
        """Cut for travel; `from_pieces` is the way back."""
        for name, array in self.arrays.items():
            yield from cut_typed(name, array)

    @classmethod
    def from_pieces(cls, pieces: Sorted) -> SpreadRows:
        """Put together from `by_name_and_peer`; of most blocks there is nothing."""
        return cls(*join_typed(pieces, NONE_SPREAD.arrays).values())


NONE_SPREAD = SpreadRows(*np.empty((3, 0), dtype=np.int64))


class Divided(NamedTuple):
    """A weighed block without the observations of its spread rows, and what the blocks of the other side get of them.

    ``still`` has, of the rows that a source block was to send, those that are needed still.
    """

    rest: WeighedBlock
    spread: SpreadRows
    parts: dict[int, WeighedBlock]
    still: dict[int, Ints]

    def pieces(self) -> Iterator[Piece]:
        """Cut for travel; what goes to a source block has it for its peer."""
        yield from self.rest.pieces()
        yield from self.spread.pieces()
        for source, part in self.parts.items():
            yield from part.pieces(_PART, peer=source)
        for source, rows in self.still.items():
            yield from cut(_STILL, rows.astype(np.int32), peer=source)


def divide(block: WeighedBlock, limit: int) -> Divided:
    """Take the observations of rows that have more than ``limit`` out of a block."""
    counts = block.counts
    is_spread = counts > limit
    rows = np.flatnonzero(is_spread)
    away = np.repeat(is_spread, counts)
    staying = block.positions[~away]
    needed = np.zeros(int(block.offsets[-1]) if len(block.offsets) else 0, dtype=bool)
    needed[staying] = True
    place = np.concatenate([[0], np.cumsum(needed)]).astype(np.int32)  # of a received row, among those still needed
    rest = replace(
        block,
        indptr=np.concatenate([[0], np.cumsum(np.where(is_spread, 0, counts))]),
        positions=narrowest(place[staying], int(place[-1]), fewest=2),
        offsets=place[block.offsets].astype(np.int64),
        codes=block.codes[~away],
    )
    spread = block.only(rows)
    of_source = np.searchsorted(block.offsets, spread.positions, side="right") - 1
    parts: dict[int, WeighedBlock] = {}
    still: dict[int, Ints] = {}
    for source in np.unique(of_source).tolist():
        begin, end = block.offsets[source], block.offsets[source + 1]
        parts[source] = _of_source(spread, of_source == source, int(begin))
        still[source] = np.flatnonzero(needed[begin:end])
    times = times_each(spread.codes, len(block.curvature))
    return Divided(rest, SpreadRows(rows, np.array(sorted(parts), dtype=np.int64), times), parts, still)


def _of_source(spread: WeighedBlock, chosen: npt.NDArray[np.bool_], begin: int) -> WeighedBlock:
    before = np.concatenate([[0], np.cumsum(chosen)])
    pairs = np.stack([spread.curvature, spread.target], axis=1)
    codes, pairs = at_most_one_each(spread.codes[chosen], pairs)
    return replace(
        spread,
        indptr=before[spread.indptr],
        positions=(spread.positions[chosen] - begin).astype(np.int32),
        offsets=np.empty(0, dtype=np.int64),
        codes=narrowest(codes, len(pairs), fewest=2),
        curvature=np.ascontiguousarray(pairs[:, 0]),
        target=np.ascontiguousarray(pairs[:, 1]),
    )


def parts_of(block: int, pieces: Iterable[Piece]) -> Iterator[tuple[int, Piece]]:
    """Address what `Divided.pieces` has for the source blocks, each piece saying that it comes from ``block``."""
    for piece in pieces:
        if piece.name.startswith(_PART) or piece.name == _STILL:
            yield piece.peer, piece._replace(peer=block)


def taken(pieces: Sorted, out_block: OutBlock) -> tuple[OutBlock, Shares]:
    """What a source block sends from now on, and what it sums: its out-block and `parts_of` the destinations in."""
    out_block, shares = dict(out_block), _shares(pieces, _PART)
    for destination, part in shares.items():
        sent = out_block.pop(destination)
        shares[destination] = replace(part, positions=sent[part.positions])
        still = join(pieces.get(_STILL, {}).get(destination, ()), np.int32)
        if len(still):
            out_block[destination] = sent[still]
    return out_block, shares


def shares_pieces(shares: Shares) -> Iterator[Piece]:
    """Cut shares for travel; `shares_from_pieces` is the way back."""
    for destination, share in shares.items():
        yield from share.pieces(_SHARE, peer=destination)


def shares_from_pieces(pieces: Sorted) -> Shares:
    """Put a block's shares together from `by_name_and_peer`."""
    return _shares(pieces, _SHARE)


def _shares(pieces: Sorted, prefix: str) -> Shares:
    peers = {peer for name, by_peer in pieces.items() if name.startswith(prefix) for peer in by_peer}
    return {peer: WeighedBlock.from_pieces(pieces, prefix, peer) for peer in sorted(peers)}


def sums(share: WeighedBlock, factors: Factors, carried: float) -> Sums:
    """Of each row of a share the sums above, one after the other, shape (n_spread, width² + width + 1).

    ``factors`` are those of the block that has the share, ``carried`` is the objective's.
    """
    width = factors.shape[1]
    loops = compiled_loops()
    add = loops.normal_equations if loops else add_observations
    found = np.zeros((share.n_rows, width * width + width + 1))
    for row in range(share.n_rows):
        lhs, rhs = np.zeros((1, width, width)), np.zeros((1, width))
        terms = (share.indptr, share.positions, share.codes, share.curvature, share.target, carried, factors)
        constant = add(*terms, np.array([row]), lhs, rhs)
        found[row] = np.concatenate([lhs.ravel(), rhs.ravel(), [constant]])
    return found


def summed(spread: SpreadRows, arrived: Mapping[int, Iterable[Piece]], width: int) -> Summed | None:
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
    return Summed(spread.rows, lhs, total[:, width * width : -1], total[:, -1])
