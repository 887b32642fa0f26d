"""The loops of ranking compiled by Numba where it is installed; each has its NumPy twin in `top_k.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wals_spark.arrays.jit import jit
from wals_spark.arrays.types import Float32Array, Int32Array, Int64Array

if TYPE_CHECKING:
    from wals_spark.ranking.tiles import Tile
    from wals_spark.ranking.top_k import ItemLists

_CHUNK = 64  # scores compared together: most chunks have none that matters, and a few vector comparisons tell


@jit
def exclude(tile: Tile, excluded: ItemLists, place: Int32Array, begin: int) -> None:
    """Twin of `top_k._exclude`."""
    scores, rows = tile.scores, tile.rows
    indptr, positions = excluded.indptr, excluded.positions
    n, size = scores.shape
    for row in range(n):
        for entry in range(indptr[rows[row]], indptr[rows[row] + 1]):
            item = place[positions[entry]] - begin
            if 0 <= item < size:
                scores[row, item] = -np.inf


@jit
def improve(tile: Tile, positions: Int32Array, best: Float32Array) -> None:
    """Twin of `top_k._improve`."""
    queries, items, scores, error, of_items = tile.queries, tile.items, tile.scores, tile.error, tile.positions
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
                # As integers, and in a slice: a loop of booleans, or of indices into the row, is not vectorized.
                part, reached = row[begin : begin + _CHUNK], np.int32(0)
                for n in range(_CHUNK):
                    reached |= np.int32(part[n] >= least)
                if not reached:
                    continue
            for item in range(begin, min(begin + _CHUNK, len(row))):
                if row[item] < least or row[item] == excluded:
                    continue
                score, position = _score(queries[query], items[item]), of_items[item]
                if score > row_best[k - 1] or (score == row_best[k - 1] and position < row_positions[k - 1]):
                    _insert(row_best, row_positions, score, position)
                    least = max(least, row_best[k - 1] - error[query])


@jit
def _insert(best: Float32Array, positions: Int32Array, score: np.float32, position: int) -> None:
    """Insert an item into a descending list, among equal scores by position; the last one drops out."""
    slot, last = 0, len(best) - 1
    end = last
    while slot < end:
        middle = (slot + end) // 2
        if best[middle] < score or (best[middle] == score and positions[middle] > position):
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
    queries, items, scores, error, of_items = tile.queries, tile.items, tile.scores, tile.error, tile.positions
    indptr, positions = wanted.indptr, wanted.positions
    for query in range(len(queries)):
        row = scores[query]
        for entry in range(indptr[query], indptr[query + 1]):
            wanted_score = wanted_scores[entry]
            high, low = wanted_score + error[query], wanted_score - error[query]
            above = np.int64(0)
            for begin in range(0, len(row), _CHUNK):
                end = min(begin + _CHUNK, len(row))
                part = row[begin:end]
                surely = perhaps = np.int32(0)
                for n in range(len(part)):
                    surely += np.int32(part[n] > high)
                    perhaps += np.int32(part[n] >= low)
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
                            above += of_items[item] < positions[entry]
                        elif ties == 1:
                            above += of_items[item] != positions[entry]
            before[entry] += above


@jit
def _score(x: Float32Array, y: Float32Array) -> np.float32:
    """Twin of `top_k._scores`, for one pair."""
    score = 0.0
    for n in range(len(x)):
        score += np.float64(x[n]) * np.float64(y[n])
    return np.float32(score)
