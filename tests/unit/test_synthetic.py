from __future__ import annotations

import numpy as np
import pytest

from wals_spark.local.synthetic import TASTES, synthetic_listening, synthetic_ratings


def test_most_plays_of_a_user_follow_two_tastes():
    history = synthetic_listening(n_users=100)
    taste = np.array([title[title.rindex("(") + 1 : -1] for title in history.items])
    assert set(taste) == set(TASTES)
    shares = []
    for user in np.unique(history.users):
        counts = np.unique(taste[history.users == user], return_counts=True)[1]
        shares.append(np.sort(counts)[-2:].sum() / counts.sum())
    assert len(shares) == 100
    assert np.mean(shares) > 0.85
    assert 0.15 < history.held_out.mean() < 0.25
    assert history.plays.min() >= 1


def test_synthetic_ratings_are_distinct_sorted_and_reproducible():
    users, items, ratings = synthetic_ratings(5000, users=300, items=100, tastes=12, seed=1)
    pairs = users * 100 + items
    assert (np.diff(pairs) > 0).all()
    assert (len(pairs), users.max() < 300, items.max() < 100, ratings.min()) == (5000, True, True, 1.0)
    again = synthetic_ratings(5000, users=300, items=100, tastes=12, seed=1)
    assert all((a == b).all() for a, b in zip((users, items, ratings), again, strict=True))


def test_more_than_half_of_all_pairs_are_refused():
    with pytest.raises(ValueError, match="at most half of all"):
        synthetic_ratings(51, users=10, items=10)
