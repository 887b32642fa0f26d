"""In-blocks weighed: all that the settings say of an observation, as two numbers that the solvers read.

A block on storage holds ratings; every choice of objective is made of them here, once, before the first iteration,
so a half-iteration knows weights, targets and diagonals and nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wals_spark.blocks import InBlock
from wals_spark.objective import Objective
from wals_spark.pieces import Piece, Sorted, cut, join, pieces_of

_DTYPES = {
    "indptr": np.int64,
    "positions": np.int32,
    "offsets": np.int64,
    "curvature": np.float32,
    "target": np.float32,
    "regularization": np.float64,
}


@dataclass(frozen=True)
class WeighedBlock:
    """The observations of a block's rows, as the solvers read them.

    Attributes
    ----------
    indptr, positions, offsets
        As in `InBlock`.
    curvature, target : float32, shape (n_observed,)
        ``w`` and ``t`` (`objective.py`).
    regularization : float64, shape (n_rows,)
        ``Λ``.
    """

    indptr: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
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

    def pieces(self) -> Iterator[Piece]:
        """Cut for travel; `from_pieces` is the way back."""
        for name in _DTYPES:
            yield from cut(name, getattr(self, name))

    @classmethod
    def from_pieces(cls, pieces: Sorted) -> WeighedBlock:
        """Put together from `by_name_and_peer`; a block that holds no row gives an empty one."""
        return cls(**{name: join(pieces_of(pieces, name), dtype) for name, dtype in _DTYPES.items()})


def positive_counts(in_block: InBlock) -> npt.NDArray[np.int64]:
    """Observations with a rating above zero of each row, shape (n_rows,)."""
    running = np.concatenate([[0], np.cumsum(in_block.ratings > 0)])
    counts: npt.NDArray[np.int64] = np.diff(running[in_block.indptr])
    return counts


def item_weights(in_block: InBlock, objective: Objective) -> npt.NDArray[np.float64]:
    """The multiplier of each row of a block of items, shape (n_rows,)."""
    return objective.item_weight.of(positive_counts(in_block), objective.largest_item_count)


def weigh(in_block: InBlock, objective: Objective, multiplier: npt.NDArray[np.float64] | None = None) -> WeighedBlock:
    """Give each observation its weight and target, and each row its ``Λ``.

    ``Λ`` counts the observations of a row that have a target: all of explicit ratings, those above zero of others.

    Parameters
    ----------
    multiplier : float64, shape (n_observed,)
        Of each observation's confidence above the base, by its item (`item_weights`); none: 1. The caller's own
        weights, if there are any, come on top.
    """
    own = in_block.weights.astype(np.float64) if len(in_block.weights) else np.ones(len(in_block.ratings))
    curvature, target = objective.observed_terms(in_block.ratings, own if multiplier is None else own * multiplier)
    counts = in_block.counts if objective.target == "rating" else positive_counts(in_block)
    return WeighedBlock(
        indptr=in_block.indptr,
        positions=in_block.positions,
        offsets=in_block.offsets,
        curvature=curvature.astype(np.float32),
        target=target.astype(np.float32),
        regularization=objective.regularization(counts) if in_block.n_rows else np.empty(0),
    )
