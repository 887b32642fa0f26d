"""How far a model's vectors have moved since the served version, and what a consumer of them must rebuild."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array, Float64Array, Int32Array
from wals_spark.ranking.top_k import ItemLists, top_k
from wals_spark.solvers.alignment import cross_product, rotated, rotation_of

ITEMS, QUERIES = 20_000, 300
"""Of items, and of users, that both versions have: how many are compared, by a hash of their ids."""
NEIGHBOURS, LISTED = 20, 10
_USABLE = 0.8  # of lists under yesterday's index that are as they should be: it may still be used


class Common(NamedTuple):
    """Rows of the same ids in tonight's model and in the served one, both (n, width)."""

    now: Float32Array
    served: Float32Array


def drift_of(
    items: Common, users: Common, rank: int, ids: Mapping[str, Mapping[str, int]], served: str
) -> dict[str, Any]:
    """What the manifest says of the drift since the version ``served``; shares are means over queries.

    ``neighbours_kept`` and ``lists_kept`` compare each model with itself: whether its nearest items, and a user's
    best, are the same as before. ``..._under_served_index`` take tonight's vectors as queries to yesterday's items.

    Parameters
    ----------
    rank
        Coordinates after it are biases.
    ids
        For ``users`` and ``items`` how many are kept, new and gone.
    """
    rotation = rotation_of(cross_product(*items, rank))
    now, then = (_unit(rows[:, :rank]) for rows in items)
    queries = now[:QUERIES]
    similar, best = _similar(queries, now), _best(users.now, items.now)
    drift = {
        "served": served,
        "ids": {side: dict(counts) for side, counts in ids.items()},
        "items_compared": len(now),
        "users_compared": len(users.now),
        "cosine": _median_cosine(items.now, items.served, rank),
        "cosine_after_rotation": _median_cosine(rotated(items.now, rotation), items.served, rank),
        "neighbours_kept": _overlap(similar, _similar(then[:QUERIES], then)),
        "lists_kept": _overlap(best, _best(users.served, items.served)),
        "neighbours_under_served_index": _overlap(similar, _similar(queries, then)),
        "lists_under_served_index": _overlap(best, _best(users.now, items.served)),
    }
    return {**drift, "rebuild": _advice(drift)}


def _advice(drift: Mapping[str, Any]) -> str:
    share = min(drift["neighbours_under_served_index"], drift["lists_under_served_index"])
    served, new = drift["served"], drift["ids"]["items"]["new"]
    if share >= _USABLE:
        return (
            f"An index of the item vectors of version {served} may be used with the vectors of this one until it is "
            f"rebuilt: {share:.0%} of what it finds is right. It lacks {new:,} items."
        )
    return (
        f"Vectors of this version and of version {served} must not be mixed ({share:.0%} of what an index of {served} "
        "finds for vectors of this one is right): rebuild indexes of items, compute stored user vectors anew, and "
        "train again what was trained on vectors. train.align = served keeps versions comparable."
    )


def _similar(queries: Float32Array, items: Float32Array) -> Int32Array:
    """The nearest items of the first ones, themselves left out; rows have unit length."""
    numbers = np.arange(len(queries))
    itself = ItemLists.of(numbers, numbers.astype(np.int32), len(queries))
    return top_k(queries, items, min(NEIGHBOURS, len(items) - 1), excluded=itself).positions


def _best(users: Float32Array, items: Float32Array) -> Int32Array:
    return top_k(users, items, min(LISTED, len(items))).positions


def _unit(rows: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(lengths > 0.0, lengths, 1.0)).astype(np.float32)


def _median_cosine(rows: Float32Array, others: Float32Array, rank: int) -> float:
    a, b = (_unit(part[:, :rank]).astype(np.float64) for part in (rows, others))
    cosines: Float64Array = np.einsum("ij,ij->i", a, b)
    return round(float(np.median(cosines)), 4)


def _overlap(lists: Int32Array, others: Int32Array) -> float:
    """The mean share of each list that is in the other one, in any order."""
    if not lists.size:
        return 1.0
    shares = [len(np.intersect1d(one, other)) / len(one) for one, other in zip(lists, others, strict=True)]
    return round(float(np.mean(shares)), 4)
