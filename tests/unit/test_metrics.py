from __future__ import annotations

from math import log, log2

import numpy as np
import pytest
from evaluations import make_measures
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.metrics import (
    UNRANKED,
    Column,
    HeldOutRanks,
    Popularity,
    RecommendedLists,
    best_ranks,
    user_fractions,
)

N_ITEMS = 12


@st.composite
def users(draw):
    """Scores with ties, held-out items (often fewer than k, some unknown) with ratings, and excluded items."""
    scores = draw(st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS))
    held_out = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8))
    excluded = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=8))
    n_unknown = draw(st.integers(0 if held_out else 1, 2))
    n_ratings = len(held_out) + n_unknown
    ratings = draw(st.lists(st.floats(0.5, 9), min_size=n_ratings, max_size=n_ratings))
    return scores, held_out, [i for i in excluded if i not in held_out], n_unknown, ratings


def ranking(user):
    """The candidates by score, ties by position."""
    scores, _, excluded, _, _ = user
    return sorted((i for i in range(N_ITEMS) if i not in excluded), key=lambda i: (-scores[i], i))


def held_out_ranks(users):
    """The input of the functions under test."""
    ranks, ratings, counts, candidates = [], [], [], []
    for user in users:
        order = ranking(user)
        ranks += [order.index(i) for i in user[1]] + [UNRANKED] * user[3]
        ratings += user[4]
        counts.append(len(user[1]) + user[3])
        candidates.append(len(order))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return HeldOutRanks(indptr, np.array(ranks, np.int64), np.array(ratings), np.array(candidates))


def reference_metric(name, k, user, capped):
    """A metric of one user from its definition: walk down the ranked list."""
    _, held_out, _, n_unknown, _ = user
    order, n = ranking(user), len(held_out) + n_unknown
    hits = [item in held_out for item in order[:k]]
    most = min(k, n)
    if name == "recall":
        return sum(hits) / (most if capped else n)
    if name == "precision":
        return sum(hits) / k
    if name == "ndcg":
        gain = sum(1 / log2(rank + 2) for rank, hit in enumerate(hits) if hit)
        return gain / sum(1 / log2(rank + 2) for rank in range(most))
    if name == "map":
        precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
        return sum(precisions) / (most if capped else n)
    if name == "mrr":
        return max((1 / (rank + 1) for rank, hit in enumerate(hits) if hit), default=0.0)
    return float(any(hits))


@given(users=st.lists(users(), min_size=1, max_size=6), capped=st.booleans())
def test_rank_metrics_equal_a_walk_down_each_list(users, capped):
    denominator = "capped" if capped else "test"
    names = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")
    measures = make_measures(names, (1, 3, 10), recall=denominator, average_precision=denominator)
    numerators, denominators = user_fractions(held_out_ranks(users), None, measures)
    assert (denominators == 1).all()
    expected = [[reference_metric(name, k, user, capped) for name, k in measures.columns] for user in users]
    np.testing.assert_allclose(numerators, expected, rtol=1e-12, atol=1e-12)


@given(users=st.lists(users(), min_size=1, max_size=6))
def test_percentile_rank_is_the_mean_weighted_by_ratings(users):
    """From the head of the list, 0, to its end, 1, where an unknown item is."""
    percentiles, ratings = [], []
    for user in users:
        order = ranking(user)
        percentiles += [order.index(i) / max(1, len(order) - 1) for i in user[1]] + [1.0] * user[3]
        ratings += user[4]
    numerators, denominators = user_fractions(held_out_ranks(users), None, make_measures(("percentile_rank",), (5,)))
    assert numerators.sum() / denominators.sum() == pytest.approx(np.average(percentiles, weights=ratings))


@given(users=st.lists(users(), min_size=1, max_size=6), counts=st.lists(st.integers(0, 20), min_size=12, max_size=12))
def test_list_metrics_equal_a_walk_through_the_lists(users, counts):
    counts[0] += 1  # at least one interaction
    orders = [ranking(user) for user in users]
    positions = np.array([(order + [-1] * 10)[:10] for order in orders], dtype=np.int32)
    popularity = Popularity.of(20, *(np.array(a) for a in np.unique(counts, return_counts=True)), head_share=0.8)
    of_items = np.array(counts, float)
    lists = RecommendedLists(positions, popularity.self_information(of_items), popularity.is_tail(of_items))
    measures = make_measures(("novelty", "tail_share"), (3, 10))
    numerators, denominators = user_fractions(held_out_ranks(users), lists, measures)
    head, covered = set(), 0
    for count in sorted(set(counts), reverse=True):  # the most popular items, up to 80 %; ties stay together
        if covered < 0.8 * sum(counts):
            head |= {i for i in range(N_ITEMS) if counts[i] == count}
            covered += sum(c for c in counts if c == count)
    items, ranks = best_ranks(positions)
    for column, k in enumerate((3, 10)):
        recommended = [i for order in orders for i in order[:k]]
        assert denominators[:, [column, 2 + column]].sum(axis=0).tolist() == [len(recommended), len(recommended)]
        novelty = sum(-log2(max(counts[i], 1) / 20) for i in recommended)
        np.testing.assert_allclose(numerators[:, column].sum(), novelty, atol=1e-9)
        assert numerators[:, 2 + column].sum() == sum(i not in head for i in recommended)
        assert set(items[ranks < k].tolist()) == set(recommended)


def test_leave_one_out_has_the_formulas_of_neural_cf():
    ranks = np.array([0, 4, 9, 10])
    held_out = HeldOutRanks(np.arange(5), ranks, np.ones(4), np.full(4, 100))
    values, _ = user_fractions(held_out, None, make_measures(("ndcg", "hit_rate", "recall"), (10,)))
    np.testing.assert_allclose(values[:, 0], [*(log(2) / log(rank + 2) for rank in (0, 4, 9)), 0.0])
    assert values[:, 1].tolist() == values[:, 2].tolist() == [1, 1, 1, 0]


def test_columns_are_written_as_metric_at_k():
    measures = make_measures(("recall", "percentile_rank", "coverage"), (5, 20))
    assert [str(column) for column in measures.columns] == ["recall@5", "recall@20", "percentile_rank"]
    assert str(Column("coverage", 5)) == "coverage@5"
    assert (measures.list_length, make_measures(("recall",), (20,)).list_length) == (20, 0)
