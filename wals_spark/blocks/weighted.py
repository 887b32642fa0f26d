"""In-blocks weighed: all that the settings say of an observation, as two numbers that the solvers read.

A block on storage holds ratings; every choice of objective is made of them here, once, before the first iteration,
so a half-iteration knows weights, targets and diagonals and nothing of how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from wals_spark.arrays.dictionary import dictionary_encode, narrow_integers
from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.in_out import InBlock, received_rows
from wals_spark.blocks.records import GroupedRecords, Record, cut_typed, join_typed
from wals_spark.objective.objective import Objective

FIELDS = ("indptr", "positions", "offsets", "indices", "excess_weight", "target", "regularization")
_FEWEST = 2  # bytes of a position or a code: each type is one more to compile the loops for


@dataclass(frozen=True)
class WeightedBlock:
    """The observations of a block's rows, as the solvers read them.

    This is what every half-iteration moves into a worker, so it is small: ratings repeat, and so do their weights.
    ``positions`` and ``indices`` take two bytes each where they fit, so an observation is 4 to 8 bytes.

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

    indptr: Int64Array
    positions: Indices
    offsets: Int64Array
    indices: Indices
    excess_weight: Float32Array
    target: Float32Array
    regularization: Float64Array

    @property
    def n_rows(self) -> int:
        """Rows that this block solves."""
        return len(self.regularization)

    @property
    def counts(self) -> Int64Array:
        """Observations of each row, shape (n_rows,)."""
        return np.diff(self.indptr)

    def only(self, rows: Int64Array) -> WeightedBlock:
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
            indices=self.indices[observed],
            regularization=self.regularization[rows],
        )

    def records(self, prefix: str = "", *, peer: int = 0) -> Iterator[Record]:
        """Cut for travel, under names of its own where a block has several; `from_records` is the way back."""
        for name in FIELDS:
            yield from cut_typed(prefix + name, getattr(self, name), peer=peer)

    @classmethod
    def from_records(cls, records: GroupedRecords, prefix: str = "", peer: int = 0) -> WeightedBlock:
        """Put together from `group_records`; a block that holds no row gives an empty one."""
        return cls(*join_typed(records, (prefix + name for name in FIELDS), peer).values())


def positive_counts(in_block: InBlock) -> Int64Array:
    """Observations with a rating above zero of each row, shape (n_rows,)."""
    positive = in_block.dictionary > 0
    if positive.all():
        return in_block.counts
    running = np.zeros(len(in_block.indices) + 1, dtype=np.int64)
    np.cumsum(positive[in_block.indices], out=running[1:])
    counts: Int64Array = np.diff(running[in_block.indptr])
    return counts


def item_weights(in_block: InBlock, objective: Objective) -> Float64Array:
    """The multiplier of each row of a block of items, shape (n_rows,)."""
    return objective.item_weight.of(positive_counts(in_block), objective.largest_item_count)


def item_weights_of_observed(
    in_block: InBlock, side: str, objective: Objective, records: GroupedRecords
) -> Float64Array | None:
    """The multiplier of each observation, shape (n_observed,), or None if items have none.

    Users find it among their ``records``: one number for each item that they will receive.
    """
    if objective.item_weight.function == "none":
        return None
    if side == "items":
        return np.repeat(item_weights(in_block, objective), in_block.counts)
    multiplier: Float64Array = received_rows(records, in_block.offsets, 1, np.float64)[:, 0]
    return np.take(multiplier, in_block.positions)


def weight_observations(
    in_block: InBlock, objective: Objective, multiplier: Float64Array | None = None
) -> WeightedBlock:
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
        terms = objective.observed_terms(in_block.dictionary)
    else:
        terms = objective.observed_terms(in_block.ratings, multiplier)
    pairs = np.stack(terms, axis=1).astype(np.float32)
    indices, distinct = dictionary_encode(pairs.view(np.uint64)[:, 0])
    distinct = distinct.view(np.float32).reshape(-1, 2)
    if multiplier is None:
        indices = indices[in_block.indices]
    counts = in_block.counts if objective.target == "rating" else positive_counts(in_block)
    n_received = int(in_block.offsets[-1]) if in_block.n_rows else 0
    return WeightedBlock(
        indptr=in_block.indptr,
        positions=narrow_integers(in_block.positions, n_received, fewest=_FEWEST),
        offsets=in_block.offsets,
        indices=narrow_integers(indices, len(distinct), fewest=_FEWEST),
        excess_weight=np.ascontiguousarray(distinct[:, 0]),
        target=np.ascontiguousarray(distinct[:, 1]),
        regularization=objective.regularization(counts) if in_block.n_rows else np.empty(0),
    )
