"""The loops of ranking compiled by Numba, where it is installed; each has its NumPy twin in `ranking`."""

from __future__ import annotations

import numpy as np

from wals_spark.arrays.jit import jit
from wals_spark.arrays.types import Float32Array, Int32Array, Int64Array

_CHUNK = 32  # scores looked at together: most chunks hold none that matters, and a vector's comparison says so


@jit
def exclude(start: int, scores: Float32Array, indptr: Int64Array, positions: Int32Array) -> None:
    """Twin of `ranking._exclude`."""
    n, size = scores.shape
    for query in range(n):
        entry, end = indptr[query], indptr[query + 1]
        entry += np.searchsorted(positions[entry:end], start)
        while entry < end and positions[entry] < start + size:
            scores[query, positions[entry] - start] = -np.inf
            entry += 1


@jit
def improve(
    start: int,
    queries: Float32Array,
    items: Float32Array,
    scores: Float32Array,
    error: Float32Array,
    positions: Int32Array,
    best: Float32Array,
) -> None:
    """Twin of `ranking._improve`."""
    k = best.shape[1]
    out = np.float32(-np.inf)
    groups = np.empty(max(64, 3 * k), dtype=np.float32)
    for query in range(len(queries)):
        row, positions_, best_ = scores[query], positions[query], best[query]
        least = best_[k - 1] - error[query]
        if least == out and len(row) > len(groups):  # the first tile, or nearly: most of it would pass
            least = _bound(row, groups, k) - 2 * error[query]
        for begin in range(0, len(row), _CHUNK):
            if begin + _CHUNK <= len(row):
                reached = False
                for n in range(_CHUNK):
                    reached |= row[begin + n] >= least
                if not reached:
                    continue
            for item in range(begin, min(begin + _CHUNK, len(row))):
                if row[item] < least or row[item] == out:
                    continue
                score = _score(queries[query], items[item])
                if not score > best_[k - 1]:
                    continue
                place, after = 0, k - 1
                while place < after:
                    middle = (place + after) // 2
                    if best_[middle] < score:
                        after = middle
                    else:
                        place = middle + 1
                for later in range(k - 1, place, -1):  # one array at a time: each is a move of memory
                    best_[later] = best_[later - 1]
                for later in range(k - 1, place, -1):
                    positions_[later] = positions_[later - 1]
                best_[place], positions_[place] = score, start + item
                least = max(least, best_[k - 1] - error[query])


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
def count(
    start: int,
    queries: Float32Array,
    items: Float32Array,
    scores: Float32Array,
    error: Float32Array,
    indptr: Int64Array,
    wanted: Int32Array,
    wanted_scores: Float32Array,
    ties: int,
    before: Int64Array,
) -> None:
    """Twin of `ranking._count`."""
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
                            above += start + item < wanted[entry]
                        elif ties == 1:
                            above += start + item != wanted[entry]
            before[entry] += above


@jit
def _score(x: Float32Array, y: Float32Array) -> np.float32:
    """Twin of `ranking._scores`, for one pair."""
    score = 0.0
    for n in range(len(x)):
        score += np.float64(x[n]) * np.float64(y[n])
    return np.float32(score)
