"""A small made-up listening history in which the tastes are known: for the demo, and for trying things out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    plays: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.bool_]


def planted_listening(*, n_users: int = 800, pairs_per_user: int = 40, seed: int = 0) -> Listening:
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
