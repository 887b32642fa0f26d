"""A small made-up listening history in which the tastes are known: for the demo, and for trying things out."""

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
    """Who played what how often; arrays of shape (n_pairs,), and ``held_out`` says which pairs to keep for the test."""

    users: npt.NDArray[np.str_]
    items: npt.NDArray[np.str_]
    plays: Int64Array
    held_out: BoolArray


def synthetic_listening(*, n_users: int = 800, pairs_per_user: int = 40, seed: int = 0) -> Listening:
    """Make a history in which each user has two of eight tastes, and nine of ten plays follow them.

    There are 640 items, 80 of each taste; within a taste a few items are played much more than the rest, and users
    differ in how much they play. One in five pairs is held out.
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
        own = rng.choice(len(TASTES), size=2, replace=False)
        n = max(5, int(rng.gamma(2.0, pairs_per_user / 2.0)))
        tastes = np.where(rng.random(n) < 0.9, rng.choice(own, size=n), rng.integers(len(TASTES), size=n))
        chosen = np.unique(tastes * per_taste + rng.choice(per_taste, size=n, p=popularity))
        users.append(np.repeat(name, len(chosen)))
        items.append(titles.ravel()[chosen])
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
    """Distinct (user, item) pairs, long-tailed on both sides and of low rank, by user and item; and their ratings.

    Activity of users is Pareto, popularity of items Zipf; every taste ranks the items in its own way, and a user
    follows three of them in 85 of 100 choices. Ratings are small counts, 1 and up.
    """
    rng = np.random.default_rng(seed)
    activity = np.cumsum(rng.pareto(1.6, users) + 0.3)
    zipf = (np.arange(items) + 20.0) ** -0.9
    by_taste = np.cumsum(zipf * np.exp(1.5 * rng.normal(size=(tastes, items))), axis=1)
    own = rng.integers(tastes, size=(users, 3))
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < rows:
        n = int(1.4 * (rows - len(pairs))) + 1000
        user = np.searchsorted(activity, activity[-1] * rng.random(n))
        strays = rng.random(n) < 0.15
        taste = np.where(strays, rng.integers(tastes, size=n), own[user, rng.integers(3, size=n)])
        item = np.empty(n, dtype=np.int64)
        for number, cumulative in enumerate(by_taste):
            chosen = np.flatnonzero(taste == number)
            item[chosen] = np.searchsorted(cumulative, cumulative[-1] * rng.random(len(chosen)))
        pairs = np.unique(np.concatenate([pairs, user * items + item]))
    pairs = np.sort(rng.permutation(pairs)[:rows])
    user, item = np.divmod(pairs, items)
    return user, item, np.ceil(rng.exponential(2.0, size=rows)).astype(np.float32)
