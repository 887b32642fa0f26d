from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from evaluations import make_measures, make_protocol
from hypothesis import assume, given
from hypothesis import strategies as st

from wals_spark.evaluation.metrics import RANK_METRICS
from wals_spark.evaluation.user_batch import Catalogue, Pairs, UserBatch, evaluate_batch
from wals_spark.evaluation.user_sample import CandidateSample, RankedSample, RatedSample
from wals_spark.ranking.top_k import Ties

MEASURES = make_measures(("ndcg",), (4,))


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
    order = np.lexsort((items, users))
    first = np.sort([0, *rng.integers(0, n_items + 1, size=draw(st.integers(0, 3))), n_items])
    sample = RankedSample(n_users, Pairs(users[order], items[order]), pairs_of(is_seen), first, MEASURES)
    user_factors = rng.integers(-1, 2, size=(n_users, 2)).astype(np.float32)
    return sample, user_factors, rng.integers(-1, 2, size=(n_items, 2)).astype(np.float32)


def by_block(sample, users, items):
    blocks = zip(sample.first_items[:-1], sample.first_items[1:], strict=True)
    return {block: sample.of_block(block, users, items[first:end]) for block, (first, end) in enumerate(blocks)}


@given(samples(), st.sampled_from(RANK_METRICS[:-1]), st.sampled_from((1, 4, 50)))
def test_a_metric_by_block_is_that_of_an_evaluation(drawn, name, k):
    ranked, users, items = drawn
    sample = replace(ranked, measures=make_measures((name,), (k,)))
    keys = np.arange(sample.n_users).astype(np.uint64)
    no_pairs = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
    ratings = np.ones(len(sample.held_out.users))
    batch = UserBatch(keys, users, sample.held_out, ratings, sample.seen, no_pairs)
    protocol = make_protocol(sample.measures, ties="order", replicates=0)
    result = evaluate_batch(batch, Catalogue(items, None, None), protocol)
    assert sample.metric(by_block(sample, users, items)) == pytest.approx(result.sums.ratios[0, 0])


@given(samples(), st.sampled_from(RANK_METRICS[:-1]), st.sampled_from((1, 4)), st.sampled_from(get_args(Ties)))
def test_a_metric_among_candidates_is_that_of_an_evaluation(drawn, name, k, ties):
    ranked, users, items = drawn
    measures, candidates = make_measures((name,), (k,)), ranked.seen
    sample = CandidateSample(ranked.n_users, ranked.held_out, candidates, ranked.first_items, measures, ties)
    keys = np.arange(sample.n_users).astype(np.uint64)
    no_pairs = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
    batch = UserBatch(keys, users, sample.held_out, np.ones(len(sample.held_out.users)), no_pairs, candidates)
    protocol = make_protocol(measures, ties=ties, replicates=0, sampled=True)
    result = evaluate_batch(batch, Catalogue(items, None, None), protocol)
    assert sample.metric(by_block(sample, users, items)) == pytest.approx(result.sums.ratios[0, 0])


@given(samples(), st.sampled_from(("rmse", "mae")), st.integers(0, 99))
def test_a_rating_error_by_block_is_that_of_all_known_rows(drawn, name, seed):
    ranked, users, items = drawn
    pairs = ranked.held_out
    known = pairs.items >= 0
    assume(known.any())
    ratings = np.random.default_rng(seed).normal(size=len(known))
    sample = RatedSample(pairs, ratings, ranked.first_items, 0.5, name)
    errors = np.array([users[u] @ items[i] for u, i in zip(*pairs.where(known), strict=True)]) + 0.5 - ratings[known]
    expected = np.sqrt((errors**2).mean()) if name == "rmse" else np.abs(errors).mean()
    assert sample.metric(by_block(sample, users, items)) == pytest.approx(expected)
    assert sample.lower_is_better
