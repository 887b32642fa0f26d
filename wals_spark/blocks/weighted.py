"""Weighted blocks: what the objective says of each observation, as the numbers that the solvers read.

A block on storage holds ratings. Every choice of objective is applied here, once, before the first iteration, so a
half-iteration reads weights, targets and diagonals and does not know how they came about.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wals_spark.arrays.dictionary import dictionary_encode, narrow_integers
from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.encoding import ArrayBlock, GroupedRecords
from wals_spark.blocks.in_out import InBlock, received_rows
from wals_spark.objective.objective import Objective

_FEWEST = 2  # bytes per position or index: the kernels are compiled once for each integer type


@dataclass(frozen=True)
class WeightedBlock(ArrayBlock):
    """The observations of a block's rows, as the solvers read them.

    Every half-iteration moves this into a worker, so it is small: ratings repeat, and so do their weights.
    ``positions`` and ``indices`` take two bytes each where they fit, so an observation takes 4 to 8 bytes.

    Attributes
    ----------
    indptr, positions, offsets
        As in `InBlock`.
    indices : uint16 or int32, shape (n_observed,)
        Into the two tables that follow.
    excess_weight, target : float32, shape (n_distinct,)
        The distinct pairs of ``w`` and ``t`` (`objective.py`).
    regularization : float64, shape (n_rows,)
        ``Λ``.
    """

    kind: ClassVar[str] = "weighted"

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
        """The block of these rows, ascending; it shares the arrays of observations if the other rows have none."""
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


def positive_counts(in_block: InBlock) -> Int64Array:
    """The number of observations of each row with a rating above zero, shape (n_rows,)."""
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

    A user block receives it in ``records``: one number per item that it will receive.
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
        Multiplies the confidence above the base of each observation, by its item (`item_weights_of_observed`); None:
        1. The user's own weights, if the input has any, multiply it too.
    """
    if len(in_block.weights):
        multiplier = in_block.weights.astype(np.float64) * (1.0 if multiplier is None else multiplier)
    if multiplier is None:  # equal ratings have equal terms: one evaluation per distinct rating
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
        positions=narrow_integers(in_block.positions, n_received, min_bytes=_FEWEST),
        offsets=in_block.offsets,
        indices=narrow_integers(indices, len(distinct), min_bytes=_FEWEST),
        excess_weight=np.ascontiguousarray(distinct[:, 0]),
        target=np.ascontiguousarray(distinct[:, 1]),
        regularization=objective.regularization(counts) if in_block.n_rows else np.empty(0),
    )
