from __future__ import annotations

import numpy as np
import pytest
from evaluations import make_measures, make_protocol
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.user_batch import Catalogue, Pairs, UserBatch, evaluate_batch
from wals_spark.evaluation.user_sample import UserSample

MEASURES = make_measures(("recall", "precision", "ndcg", "map", "mrr", "hit_rate"), (1, 4, 50))


def pairs_of(matrix):
    users, items = np.nonzero(matrix)
    return Pairs(users.astype(np.int64), items.astype(np.int32))


@st.composite
def samples(draw):
    """Users with held-out items, some unknown; seen items; items in blocks, some of them empty; scores with ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    is_seen, is_held_out = rng.random((2, n_users, n_items)) < 0.4
    held_out = pairs_of(is_held_out & ~is_seen)
    users = np.append(held_out.users, np.arange(n_users))  # each has an unknown item, and so at least one
    items = np.append(held_out.items, np.full(n_users, -1, dtype=np.int32))
    order = np.argsort(users, kind="stable")
    first = np.sort([0, *rng.integers(0, n_items + 1, size=draw(st.integers(0, 3))), n_items])
    sample = UserSample(n_users, Pairs(users[order], items[order]), pairs_of(is_seen), first)
    user_factors = rng.integers(-1, 2, size=(n_users, 2)).astype(np.float32)
    return sample, user_factors, rng.integers(-1, 2, size=(n_items, 2)).astype(np.float32)


@given(samples())
def test_metrics_by_block_are_those_of_an_evaluation(drawn):
    sample, users, items = drawn
    blocks = zip(sample.first_items[:-1], sample.first_items[1:], strict=True)
    best = [sample.best_of_block(n, users, items[first:end], 50) for n, (first, end) in enumerate(blocks)]

    keys = np.arange(sample.n_users).astype(np.uint64)
    no_pairs = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
    ratings = np.ones(len(sample.held_out.users))
    batch = UserBatch(keys, users, sample.held_out, ratings, sample.seen, no_pairs)
    result = evaluate_batch(batch, Catalogue(items, None, None), make_protocol(MEASURES, ties="order", replicates=0))
    expected = result.sums.ratios[0]

    metrics = sample.metrics(best, MEASURES)
    assert list(metrics) == [str(column) for column in MEASURES.columns]
    assert list(metrics.values()) == pytest.approx(expected.tolist())
