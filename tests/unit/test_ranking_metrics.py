from __future__ import annotations

from math import log, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.metrics import (
    METRICS,
    MISSED,
    Column,
    Lists,
    Measures,
    Placed,
    Popularity,
    first_places,
    user_sums,
)

N_ITEMS = 12
SUMMED = tuple(name for name in METRICS if name != "coverage")


@st.composite
def users(draw):
    """Scores with ties, test items (often fewer than k, some unknown) with ratings, and items that are left out."""
    scores = draw(st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS))
    wanted = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8))
    left_out = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8))
    unknown = draw(st.integers(0 if wanted else 1, 2))
    ratings = draw(st.lists(st.floats(0.5, 9), min_size=len(wanted) + unknown, max_size=len(wanted) + unknown))
    return scores, wanted, [i for i in left_out if i not in wanted], unknown, ratings


def ranking(user):
    """The candidates by score, ties by position."""
    scores, _, left_out, _, _ = user
    return sorted((i for i in range(N_ITEMS) if i not in left_out), key=lambda i: (-scores[i], i))


def placed(many):
    """What the functions under test are given."""
    places, ratings, counts, candidates = [], [], [], []
    for user in many:
        order = ranking(user)
        places += [order.index(i) for i in user[1]] + [MISSED] * user[3]
        ratings += user[4]
        counts.append(len(user[1]) + user[3])
        candidates.append(len(order))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return Placed(indptr, np.array(places, np.int64), np.array(ratings), np.array(candidates))


def plain(name, k, user, capped):
    """A metric of one user by the book: walk down the list."""
    _, wanted, _, unknown, _ = user
    order, n = ranking(user), len(wanted) + unknown
    found = [item in wanted for item in order[:k]]
    most = min(k, n)
    if name == "recall":
        return sum(found) / (most if capped else n)
    if name == "precision":
        return sum(found) / k
    if name == "ndcg":
        gain = sum(1 / log2(place + 2) for place, hit in enumerate(found) if hit)
        return gain / sum(1 / log2(place + 2) for place in range(most))
    if name == "map":
        precisions = [sum(found[: place + 1]) / (place + 1) for place, hit in enumerate(found) if hit]
        return sum(precisions) / (most if capped else n)
    if name == "mrr":
        return max((1 / (place + 1) for place, hit in enumerate(found) if hit), default=0.0)
    return float(any(found))


@given(many=st.lists(users(), min_size=1, max_size=6), capped=st.booleans())
def test_metrics_of_places_equal_a_walk_down_each_users_list(many, capped):
    chosen = "capped" if capped else "test"
    names = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")
    measures = Measures(names, (1, 3, 10), recall=chosen, average_precision=chosen)
    values, weights = user_sums(placed(many), None, measures)
    assert (weights == 1).all()
    expected = [[plain(name, k, user, capped) for name, k in measures.columns] for user in many]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)


@given(many=st.lists(users(), min_size=1, max_size=6))
def test_the_percentile_rank_is_the_mean_place_weighted_by_ratings(many):
    """From the head of the list, 0, to its end, 1, where an unknown item is."""
    shares, ratings = [], []
    for user in many:
        order = ranking(user)
        shares += [order.index(i) / max(1, len(order) - 1) for i in user[1]] + [1.0] * user[3]
        ratings += user[4]
    values, weights = user_sums(placed(many), None, Measures(("percentile_rank",), (5,)))
    assert values.sum() / weights.sum() == pytest.approx(np.average(shares, weights=ratings))


@given(many=st.lists(users(), min_size=1, max_size=6), counts=st.lists(st.integers(0, 20), min_size=12, max_size=12))
def test_what_is_said_of_the_lists_equals_a_walk_through_them(many, counts):
    counts[0] += 1  # somebody has something
    orders = [ranking(user) for user in many]
    positions = np.array([(order + [-1] * 10)[:10] for order in orders], dtype=np.int32)
    popularity = Popularity.of(20, *(np.array(a) for a in np.unique(counts, return_counts=True)), head_share=0.8)
    lists = Lists(positions, popularity.surprise(np.array(counts, float)), popularity.tail(np.array(counts, float)))
    values, weights = user_sums(placed(many), lists, Measures(("novelty", "tail_share"), (3, 10)))
    head, held = set(), 0
    for count in sorted(set(counts), reverse=True):  # the most popular items, until they hold 80 %; ties stay together
        if held < 0.8 * sum(counts):
            head |= {i for i in range(N_ITEMS) if counts[i] == count}
            held += sum(c for c in counts if c == count)
    items, places = first_places(positions)
    for number, k in enumerate((3, 10)):
        shown = [i for order in orders for i in order[:k]]
        assert weights[:, [number, 2 + number]].sum(axis=0).tolist() == [len(shown), len(shown)]
        novelty = sum(-log2(max(counts[i], 1) / 20) for i in shown)
        np.testing.assert_allclose(values[:, number].sum(), novelty, atol=1e-9)
        assert values[:, 2 + number].sum() == sum(i not in head for i in shown)
        assert set(items[places < k].tolist()) == set(shown)


def test_one_test_item_gives_the_formulas_of_neural_collaborative_filtering():
    places = np.array([0, 4, 9, 10])
    found, _ = user_sums(
        Placed(np.arange(5), places, np.ones(4), np.full(4, 100)), None, Measures(("ndcg", "hit_rate", "recall"), (10,))
    )
    np.testing.assert_allclose(found[:, 0], [*(log(2) / log(place + 2) for place in (0, 4, 9)), 0.0])
    assert found[:, 1].tolist() == found[:, 2].tolist() == [1, 1, 1, 0]


def test_columns_are_named_as_people_write_them():
    measures = Measures(("recall", "percentile_rank", "coverage"), (5, 20))
    assert [str(column) for column in measures.columns] == ["recall@5", "recall@20", "percentile_rank"]
    assert str(Column("coverage", 5)) == "coverage@5"
    assert (measures.list_length, Measures(("recall",), (20,)).list_length) == (20, 0)
