"""The loops of ranking compiled by Numba where it is installed; each has its NumPy twin in `top_k.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wals_spark.arrays.jit import jit
from wals_spark.arrays.types import Float32Array, Int32Array, Int64Array

if TYPE_CHECKING:
    from wals_spark.ranking.top_k import ItemLists, Tile

_CHUNK = 32  # scores compared together: most chunks have none that matters, and one vector comparison tells


@jit
def exclude(tile: Tile, excluded: ItemLists) -> None:
    """Twin of `top_k._exclude`."""
    scores, start = tile.scores, tile.first_item
    indptr, positions = excluded.indptr, excluded.positions
    n, size = scores.shape
    for query in range(n):
        entry, end = indptr[query], indptr[query + 1]
        entry += np.searchsorted(positions[entry:end], start)
        while entry < end and positions[entry] < start + size:
            scores[query, positions[entry] - start] = -np.inf
            entry += 1


@jit
def improve(tile: Tile, positions: Int32Array, best: Float32Array) -> None:
    """Twin of `top_k._improve`."""
    queries, items, scores, error, start = tile.queries, tile.items, tile.scores, tile.error, tile.first_item
    k = best.shape[1]
    excluded = np.float32(-np.inf)
    groups = np.empty(max(64, 3 * k), dtype=np.float32)
    for query in range(len(queries)):
        row, row_positions, row_best = scores[query], positions[query], best[query]
        least = row_best[k - 1] - error[query]
        if least == excluded and len(row) > len(groups):  # the first tile, or nearly: most of it would pass
            least = _bound(row, groups, k) - 2 * error[query]
        for begin in range(0, len(row), _CHUNK):
            if begin + _CHUNK <= len(row):
                reached = False
                for n in range(_CHUNK):
                    reached |= row[begin + n] >= least
                if not reached:
                    continue
            for item in range(begin, min(begin + _CHUNK, len(row))):
                if row[item] < least or row[item] == excluded:
                    continue
                score = _score(queries[query], items[item])
                if score > row_best[k - 1]:
                    _insert(row_best, row_positions, score, start + item)
                    least = max(least, row_best[k - 1] - error[query])


@jit
def _insert(best: Float32Array, positions: Int32Array, score: np.float32, position: int) -> None:
    """Insert an item into a descending list, behind equal scores; the last one drops out."""
    slot, last = 0, len(best) - 1
    end = last
    while slot < end:
        middle = (slot + end) // 2
        if best[middle] < score:
            end = middle
        else:
            slot = middle + 1
    for later in range(last, slot, -1):  # one array at a time: each is a move of memory
        best[later] = best[later - 1]
    for later in range(last, slot, -1):
        positions[later] = positions[later - 1]
    best[slot], positions[slot] = score, position


@jit
def _bound(row: Float32Array, groups: Float32Array, k: int) -> np.float32:
    """A number that at least k of the scores reach: the k-th largest of the maxima of disjoint groups of them."""
    n = len(groups)
    for group in range(n):
        groups[group] = row[group]
    for begin in range(n, len(row), n):
        part = row[begin : begin + n]
        for group in range(len(part)):
            score, largest = part[group], groups[group]
            groups[group] = score if score > largest else largest
    bound: np.float32 = np.partition(groups, n - k)[n - k]
    return bound


@jit
def count(tile: Tile, wanted: ItemLists, wanted_scores: Float32Array, ties: int, before: Int64Array) -> None:
    """Twin of `top_k._count`."""
    queries, items, scores, error, start = tile.queries, tile.items, tile.scores, tile.error, tile.first_item
    indptr, positions = wanted.indptr, wanted.positions
    for query in range(len(queries)):
        row = scores[query]
        for entry in range(indptr[query], indptr[query + 1]):
            wanted_score = wanted_scores[entry]
            high, low = wanted_score + error[query], wanted_score - error[query]
            above = 0
            for begin in range(0, len(row), _CHUNK):
                end = min(begin + _CHUNK, len(row))
                surely, perhaps = 0, 0
                for item in range(begin, end):
                    surely += row[item] > high
                    perhaps += row[item] >= low
                above += surely
                if surely == perhaps:
                    continue
                for item in range(begin, end):
                    if row[item] < low or row[item] > high:
                        continue
                    score = _score(queries[query], items[item])
                    if score > wanted_score:
                        above += 1
                    elif score == wanted_score:
                        if ties == 0:
                            above += start + item < positions[entry]
                        elif ties == 1:
                            above += start + item != positions[entry]
            before[entry] += above


@jit
def _score(x: Float32Array, y: Float32Array) -> np.float32:
    """Twin of `top_k._scores`, for one pair."""
    score = 0.0
    for n in range(len(x)):
        score += np.float64(x[n]) * np.float64(y[n])
    return np.float32(score)
