"""In-blocks weighed: all that the settings say of an observation, as two numbers that the solvers read.

A block on storage holds ratings; every choice of objective is made of them here, once, before the first iteration,
so a half-iteration knows weights, targets and diagonals and nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from wals_spark.blocks import InBlock, received_rows
from wals_spark.coding import coded, narrowest
from wals_spark.objective import Objective
from wals_spark.pieces import Piece, Sorted, cut_typed, join_typed

Ints = npt.NDArray[np.integer[Any]]

FIELDS = ("indptr", "positions", "offsets", "codes", "curvature", "target", "regularization")
_FEWEST = 2  # bytes of a position or a code: each type is one more to compile the loops for


@dataclass(frozen=True)
class WeighedBlock:
    """The observations of a block's rows, as the solvers read them.

    This is what every half-iteration moves into a worker, so it is small: ratings repeat, and so do their weights.
    ``positions`` and ``codes`` take two bytes each where they fit, so an observation is 4 to 8 bytes.

    Attributes
    ----------
    indptr, positions, offsets
        As in `InBlock`.
    codes : uint16 or int32, shape (n_observed,)
        Into the two tables that follow.
    curvature, target : float32, shape (n_distinct,)
        The pairs of ``w`` and ``t`` (`objective.py`) that there are.
    regularization : float64, shape (n_rows,)
        ``Λ``.
    """

    indptr: npt.NDArray[np.int64]
    positions: Ints
    offsets: npt.NDArray[np.int64]
    codes: Ints
    curvature: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    regularization: npt.NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        """Rows that this block solves."""
        return len(self.regularization)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Observations of each row, shape (n_rows,)."""
        return np.diff(self.indptr)

    def only(self, rows: npt.NDArray[np.int64]) -> WeighedBlock:
        """The block of some of the rows, ascending; if the others have no observation, of the same arrays of them."""
        counts = self.counts[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        if indptr[-1] == len(self.positions):
            return replace(self, indptr=indptr, regularization=self.regularization[rows])
        observed = np.repeat(self.indptr[rows] - indptr[:-1], counts) + np.arange(indptr[-1])
        return replace(
            self,
            indptr=indptr,
            positions=self.positions[observed],
            codes=self.codes[observed],
            regularization=self.regularization[rows],
        )

    def pieces(self, prefix: str = "", *, peer: int = 0) -> Iterator[Piece]:
        """Cut for travel, under names of its own where a block has several; `from_pieces` is the way back."""
        for name in FIELDS:
            yield from cut_typed(prefix + name, getattr(self, name), peer=peer)

    @classmethod
    def from_pieces(cls, pieces: Sorted, prefix: str = "", peer: int = 0) -> WeighedBlock:
        """Put together from `by_name_and_peer`; a block that holds no row gives an empty one."""
        return cls(*join_typed(pieces, (prefix + name for name in FIELDS), peer).values())


def positive_counts(in_block: InBlock) -> npt.NDArray[np.int64]:
    """Observations with a rating above zero of each row, shape (n_rows,)."""
    positive = in_block.levels > 0
    if positive.all():
        return in_block.counts
    running = np.zeros(len(in_block.codes) + 1, dtype=np.int64)
    np.cumsum(positive[in_block.codes], out=running[1:])
    counts: npt.NDArray[np.int64] = np.diff(running[in_block.indptr])
    return counts


def item_weights(in_block: InBlock, objective: Objective) -> npt.NDArray[np.float64]:
    """The multiplier of each row of a block of items, shape (n_rows,)."""
    return objective.item_weight.of(positive_counts(in_block), objective.largest_item_count)


def item_weights_of_observed(
    in_block: InBlock, side: str, objective: Objective, pieces: Sorted
) -> npt.NDArray[np.float64] | None:
    """The multiplier of each observation, shape (n_observed,), or None if items have none.

    Users find it among their ``pieces``: one number for each item that they will receive.
    """
    if objective.item_weight.function == "none":
        return None
    if side == "items":
        return np.repeat(item_weights(in_block, objective), in_block.counts)
    multiplier: npt.NDArray[np.float64] = received_rows(pieces, in_block.offsets, 1, np.float64)[:, 0]
    return np.take(multiplier, in_block.positions)


def weigh(in_block: InBlock, objective: Objective, multiplier: npt.NDArray[np.float64] | None = None) -> WeighedBlock:
    """Give each observation its weight and target, and each row its ``Λ``.

    ``Λ`` counts the observations of a row that have a target: all of explicit ratings, those above zero of others.

    Parameters
    ----------
    multiplier : float64, shape (n_observed,)
        Of each observation's confidence above the base, by its item (`item_weights_of_observed`); none: 1. The
        caller's own weights, if there are any, come on top.
    """
    if len(in_block.weights):
        multiplier = in_block.weights.astype(np.float64) * (1.0 if multiplier is None else multiplier)
    if multiplier is None:  # what a rating makes is worked out once for all that are alike
        terms = objective.observed_terms(in_block.levels)
    else:
        terms = objective.observed_terms(in_block.ratings, multiplier)
    pairs = np.stack(terms, axis=1).astype(np.float32)
    codes, distinct = coded(pairs.view(np.uint64)[:, 0])
    distinct = distinct.view(np.float32).reshape(-1, 2)
    if multiplier is None:
        codes = codes[in_block.codes]
    counts = in_block.counts if objective.target == "rating" else positive_counts(in_block)
    n_received = int(in_block.offsets[-1]) if in_block.n_rows else 0
    return WeighedBlock(
        indptr=in_block.indptr,
        positions=narrowest(in_block.positions, n_received, fewest=_FEWEST),
        offsets=in_block.offsets,
        codes=narrowest(codes, len(distinct), fewest=_FEWEST),
        curvature=np.ascontiguousarray(distinct[:, 0]),
        target=np.ascontiguousarray(distinct[:, 1]),
        regularization=objective.regularization(counts) if in_block.n_rows else np.empty(0),
    )
