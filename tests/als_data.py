"""Ratings of low-rank matrices, as MLlib's own suite makes them: a part to train on, the rest to test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ratings:
    """Rows (user, item, rating) to train on and to test."""

    training: list[tuple[int, int, float]]
    test: list[tuple[int, int, float]]


def explicit_ratings(users=20, items=24, rank=1, seed=11, positive=False):
    """All entries of a random matrix of a rank, without noise; two thirds of them to train on."""
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(0.1 if positive else -1.0, 1.0, (n, rank)) for n in (users, items))
    matrix = x @ y.T
    order = rng.permutation(users * items)
    rows = [(int(n // items), int(n % items), float(matrix[n // items, n % items])) for n in order]
    # Every user and item is in training: some pairs of each come first.
    first = [row for row in rows if (row[0] + row[1]) % 4 != 0]
    return Ratings(first, [row for row in rows if (row[0] + row[1]) % 4 == 0])


def implicit_ratings(users=20, items=30, rank=2, seed=3, dislikes=True):
    """Counts where a low-rank score is above zero and, with ``dislikes``, negative ones where it is far below."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(users, rank)) @ rng.normal(size=(items, rank)).T
    rows = []
    for user, item in np.ndindex(users, items):
        if score[user, item] > 0:
            rows.append((user, item, 1.0 + float(rng.poisson(score[user, item]))))
        elif dislikes and score[user, item] < -0.5:
            rows.append((user, item, -1.0))
    chosen = rng.random(len(rows)) < 0.8
    training = [row for row, is_chosen in zip(rows, chosen, strict=True) if is_chosen]
    return Ratings(training, [row for row, is_chosen in zip(rows, chosen, strict=True) if not is_chosen])
