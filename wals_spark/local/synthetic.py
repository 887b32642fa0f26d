"""Synthetic interactions of users with known tastes: a small listening history with names, and ratings of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wals_spark.arrays.types import BoolArray, Float32Array, Int64Array

TASTES = ("jazz", "folk", "techno", "metal", "opera", "samba", "blues", "choral")
_FIRST = ("Ada", "Björn", "Chiara", "Dmitri", "Eun-ji", "Fatima", "Goran", "Hana", "Ines", "Jamal", "Keiko", "Lars",
          "Mei", "Nadia", "Omar", "Petra", "Quentin", "Rosa", "Sofía", "Tariq", "Uma", "Viktor", "Wanjiru", "Yusuf",
          "Zoë")  # fmt: skip
_LAST = ("Almeida", "Bakker", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Jansen", "Kowalski",
         "Lindqvist", "Moreau", "Novák", "Okafor", "Park", "Quispe", "Rossi", "Schmidt", "Tanaka", "Ueda", "Varga",
         "Weber", "Xu", "Yılmaz", "Zhang", "Owusu", "Reyes", "Silva", "Mbeki", "Nguyen", "O'Brien")  # fmt: skip
_ADJECTIVES = (
    "Amber",
    "Broken",
    "Crystal",
    "Distant",
    "Electric",
    "Fading",
    "Golden",
    "Hollow",
    "Infinite",
    "Lonely",
)
_NOUNS = ("Harbour", "Mirror", "Orchard", "Parade", "River", "Shadow", "Signal", "Winter")


@dataclass(frozen=True)
class Listening:
    """How often users played items, in arrays of shape (n_pairs,); the pairs in ``held_out`` are meant for the test."""

    users: npt.NDArray[np.str_]
    items: npt.NDArray[np.str_]
    plays: Int64Array
    held_out: BoolArray


def synthetic_listening(*, n_users: int = 800, pairs_per_user: int = 40, seed: int = 0) -> Listening:
    """A history in which each user has two of eight tastes, and nine of ten plays follow them.

    There are 640 items, 80 per taste. Within a taste a few items are much more popular than the others, and users
    differ in activity. One in five pairs is held out.
    """
    rng = np.random.default_rng(seed)
    people = np.array([f"{first} {last}" for first in _FIRST for last in _LAST])
    names = rng.permutation(people)[:n_users]
    titles = np.array([[f"{a} {n} ({taste})" for a in _ADJECTIVES for n in _NOUNS] for taste in TASTES])
    per_taste = titles.shape[1]
    popularity = 1.0 / np.arange(1, per_taste + 1) ** 0.7
    popularity /= popularity.sum()
    users, items = [], []
    for name in names:
        two_tastes = rng.choice(len(TASTES), size=2, replace=False)
        n = max(5, int(rng.gamma(2.0, pairs_per_user / 2.0)))
        tastes = np.where(rng.random(n) < 0.9, rng.choice(two_tastes, size=n), rng.integers(len(TASTES), size=n))
        positions = np.unique(tastes * per_taste + rng.choice(per_taste, size=n, p=popularity))
        users.append(np.repeat(name, len(positions)))
        items.append(titles.ravel()[positions])
    n_pairs = sum(map(len, items))
    return Listening(
        users=np.concatenate(users),
        items=np.concatenate(items),
        plays=1 + rng.geometric(0.2, size=n_pairs),
        held_out=rng.random(n_pairs) < 0.2,
    )


def synthetic_ratings(
    rows: int, *, users: int, items: int, tastes: int = 60, seed: int = 0
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Distinct (user, item) pairs in ascending order, and their ratings: users, items and ratings, all (rows,).

    Users' activity is Pareto distributed and items' popularity follows Zipf's law. Each taste has a popularity of its
    own, and a user follows one of three tastes in 85 of 100 choices, so the matrix is close to low rank. Ratings are
    small counts from 1.

    Raises
    ------
    ValueError
        If more than half of all pairs are asked for: pairs are drawn until enough of them are distinct.
    """
    if rows > users * items // 2:
        raise ValueError(f"{rows} distinct pairs of {users} users and {items} items: at most half of all are drawn")
    rng = np.random.default_rng(seed)
    activity = np.cumsum(rng.pareto(1.6, users) + 0.3)
    zipf = (np.arange(items) + 20.0) ** -0.9
    by_taste = np.cumsum(zipf * np.exp(1.5 * rng.normal(size=(tastes, items))), axis=1)
    tastes_of_user = rng.integers(tastes, size=(users, 3))
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < rows:
        n = int(1.4 * (rows - len(pairs))) + 1000
        user = np.searchsorted(activity, activity[-1] * rng.random(n))
        at_random = rng.random(n) < 0.15
        taste = np.where(at_random, rng.integers(tastes, size=n), tastes_of_user[user, rng.integers(3, size=n)])
        item = np.empty(n, dtype=np.int64)
        for number, cumulative in enumerate(by_taste):
            of_taste = np.flatnonzero(taste == number)
            item[of_taste] = np.searchsorted(cumulative, cumulative[-1] * rng.random(len(of_taste)))
        pairs = np.unique(np.concatenate([pairs, user * items + item]))
    pairs = np.sort(rng.permutation(pairs)[:rows])
    user, item = np.divmod(pairs, items)
    return user, item, np.ceil(rng.exponential(2.0, size=rows)).astype(np.float32)
