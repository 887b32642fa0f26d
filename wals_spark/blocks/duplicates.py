"""Several rows of one pair become one observation, the same whatever their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.sorting import stable_sort
from wals_spark.arrays.types import FloatArray, Int64Array

_NONE = np.empty(0)


class Merged(NamedTuple):
    """Pairs, ascending, with their ratings and, if there are any, weights; and the pairs that several rows have."""

    pairs: Int64Array
    ratings: FloatArray
    weights: FloatArray
    repeated: Int64Array


def merge_duplicates(
    pair: Int64Array, ratings: FloatArray, weights: FloatArray | None, timestamps: FloatArray | None, policy: str
) -> Merged:
    """Merge the rows of each pair.

    A run of one pair is ordered by its values and not by arrival, so shuffled input gives the same bits. With ``keep``
    each row stays an observation of its own, and its pair repeats. ``pair`` is overwritten.
    """
    pair_sorted, order = stable_sort(pair)
    is_first = np.ones(len(pair_sorted), dtype=bool)
    is_first[1:] = pair_sorted[1:] != pair_sorted[:-1]
    if is_first.all():
        weights = _NONE if weights is None else weights[order]
        return Merged(pair_sorted, ratings[order], weights, pair_sorted[:0])
    by_value = (ratings,) if weights is None else (weights, ratings)
    by_time = (timestamps,) if policy == "last" and timestamps is not None else ()
    within_runs = np.lexsort((*(values[order] for values in (*by_value, *by_time)), pair_sorted))
    order = order[within_runs]
    if policy == "keep":
        repeated = np.unique(pair_sorted[~is_first])
        return Merged(pair_sorted, ratings[order], _NONE if weights is None else weights[order], repeated)
    firsts = np.flatnonzero(is_first)
    run_lengths = np.diff(np.append(firsts, len(pair_sorted)))
    if policy in ("last", "max"):
        kept_rows = order[firsts + run_lengths - 1]
        merged, merged_weights = ratings[kept_rows], _NONE if weights is None else weights[kept_rows]
    elif policy == "mean":
        # Rows of weights w and one target are, but for a constant, one row of the sum of w and the mean of the targets.
        weight = np.ones(len(order)) if weights is None else weights[order].astype(np.float64)
        merged_weights = np.add.reduceat(weight, firsts)
        weight = np.where(np.repeat(merged_weights, run_lengths) > 0, weight, 1.0)
        merged = np.add.reduceat(weight * ratings[order], firsts) / np.add.reduceat(weight, firsts)
    else:
        merged = np.add.reduceat(ratings[order], firsts, dtype=np.float64)
        merged_weights = _NONE
        if weights is not None:
            merged_weights = np.add.reduceat(weights[order], firsts, dtype=np.float64) / run_lengths
    distinct = pair_sorted[firsts]
    return Merged(distinct, merged, merged_weights, distinct[run_lengths > 1])


def joined_weights(parts: Sequence[tuple[FloatArray, int]]) -> FloatArray:
    """The weights of parts, each with its number of observations: 1 where a part has none; empty if no part has any."""
    if not any(len(weights) for weights, _ in parts):
        return _NONE
    return np.concatenate([weights if len(weights) else np.ones(n, np.float32) for weights, n in parts])
