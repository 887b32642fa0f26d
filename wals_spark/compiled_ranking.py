"""The loops of ranking compiled by Numba, where it is installed; each has its NumPy twin in `ranking`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wals_spark.compiling import compiled

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]

_CHUNK = 32  # scores looked at together: most chunks hold none that matters, and a vector's comparison says so


@compiled
def improve(
    start: int, queries: Floats, items: Floats, scores: Floats, error: Floats, positions: Positions, best: Floats
) -> None:
    """Twin of `ranking._improve`."""
    k = best.shape[1]
    out = np.float32(-np.inf)
    for query in range(len(queries)):
        row, positions_, best_ = scores[query], positions[query], best[query]
        least = best_[k - 1] - error[query]
        for begin in range(0, len(row), _CHUNK):
            end = min(begin + _CHUNK, len(row))
            enough = 0
            for item in range(begin, end):
                enough += row[item] >= least
            if not enough:
                continue
            for item in range(begin, end):
                if row[item] < least or row[item] == out:
                    continue
                score = _score(queries[query], items[item])
                if not score > best_[k - 1]:
                    continue
                place = k - 1
                while place > 0 and best_[place - 1] < score:
                    best_[place], positions_[place] = best_[place - 1], positions_[place - 1]
                    place -= 1
                best_[place], positions_[place] = score, start + item
                least = best_[k - 1] - error[query]


@compiled
def count(
    start: int,
    queries: Floats,
    items: Floats,
    scores: Floats,
    error: Floats,
    indptr: npt.NDArray[np.int64],
    wanted: Positions,
    wanted_scores: Floats,
    ties: int,
    before: npt.NDArray[np.int64],
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


@compiled
def _score(x: Floats, y: Floats) -> np.float32:
    """Twin of `ranking._scores`, for one pair; its sums are in the same order, and products of float32 are exact."""
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = len(x) // 8 * 8
    for n in range(0, whole, 8):
        a += np.float64(x[n]) * np.float64(y[n])
        b += np.float64(x[n + 1]) * np.float64(y[n + 1])
        c += np.float64(x[n + 2]) * np.float64(y[n + 2])
        d += np.float64(x[n + 3]) * np.float64(y[n + 3])
        e += np.float64(x[n + 4]) * np.float64(y[n + 4])
        f += np.float64(x[n + 5]) * np.float64(y[n + 5])
        g += np.float64(x[n + 6]) * np.float64(y[n + 6])
        h += np.float64(x[n + 7]) * np.float64(y[n + 7])
    for n in range(whole, len(x)):
        product = np.float64(x[n]) * np.float64(y[n])
        lane = n - whole
        if lane == 0:
            a += product
        elif lane == 1:
            b += product
        elif lane == 2:
            c += product
        elif lane == 3:
            d += product
        elif lane == 4:
            e += product
        elif lane == 5:
            f += product
        else:
            g += product
    return np.float32(((a + e) + (c + g)) + ((b + f) + (d + h)))
