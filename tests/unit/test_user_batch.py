from __future__ import annotations

import numpy as np
import pytest
from evaluations import make_measures, make_protocol
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.bootstrap import estimate_metrics
from wals_spark.evaluation.metrics import Popularity
from wals_spark.evaluation.user_batch import Catalogue, Pairs, UserBatch, evaluate_batch

N_USERS, N_ITEMS = 5, 9
MEASURES = make_measures(("recall", "mrr", "percentile_rank", "novelty"), (1, 4))


def pairs_of(matrix, unknown=()):
    """The pairs that are set in a matrix, and an unknown item for each user of ``unknown``."""
    users, items = np.nonzero(matrix)
    users, items = np.append(users, list(unknown)), np.append(items, [-1] * len(unknown))
    return Pairs(users.astype(np.int64), items.astype(np.int32))


@st.composite
def batches(draw):
    """Scores with ties, test and training that share pairs, unknown items, users without any held-out pair."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    factors = rng.integers(-1, 2, size=(N_USERS, 2)).astype(np.float32)
    held_out, seen, candidates = rng.random((3, N_USERS, N_ITEMS)) < draw(st.sampled_from([0.2, 0.5]))
    unknown = np.flatnonzero(rng.random(N_USERS) < 0.3)
    pairs = pairs_of(held_out, unknown)
    order = rng.permutation(len(pairs.users))
    keys = rng.integers(2**63, size=N_USERS).astype(np.uint64)
    ratings = rng.integers(1, 5, size=len(order)).astype(float)
    pairs = Pairs(pairs.users[order], pairs.items[order])
    return UserBatch(keys, factors, pairs, ratings, pairs_of(seen), pairs_of(candidates, unknown))


def reference_sums(batch, user_factors, item_factors, counts, protocol):
    """Each metric of `MEASURES` as a ratio of two plain sums, user by user."""
    scores = user_factors @ item_factors.T
    sums = np.zeros((2, 7))
    for user in range(N_USERS):
        seen = set(batch.seen.items[batch.seen.users == user])
        of_user = batch.held_out.users == user
        pairs = zip(batch.held_out.items[of_user], batch.ratings[of_user], strict=True)
        held_out = [(i, r) for i, r in pairs if i not in seen]
        known = {i for i, _ in held_out if i >= 0}
        if not held_out:
            continue
        unseen = [i for i in range(N_ITEMS) if i not in seen]
        candidates = unseen
        if protocol.sampled:
            candidates = sorted(known | set(batch.candidates.items[batch.candidates.users == user]) - {-1})
        others = set(candidates) - known
        first = {"order": set(), "against": others, "for": known}[protocol.ties]
        order = sorted(candidates, key=lambda i: (-scores[user, i], i not in first, i))
        for column, k in enumerate((1, 4)):
            hits = [rank for rank, i in enumerate(order[:k]) if i in known]
            recommended = sorted(unseen, key=lambda i: (-scores[user, i], i))[:k]
            sums[:, column] += len(hits) / len(held_out), 1
            sums[:, 2 + column] += 1 / (hits[0] + 1) if hits else 0, 1
            sums[:, 5 + column] += sum(-np.log2(max(counts[i], 1) / N_USERS) for i in recommended), len(recommended)
        for i, r in held_out:
            sums[:, 4] += r * (order.index(i) / max(1, len(order) - 1) if i >= 0 else 1.0), r
    return sums


@pytest.mark.parametrize("ties", ["against", "order", "for"])
@pytest.mark.parametrize("sampled", [False, True])
@given(batch=batches())
def test_batch_sums_equal_those_of_plain_loops(batch, sampled, ties):
    items = np.random.default_rng(0).integers(-1, 2, size=(N_ITEMS, 2)).astype(np.float32)
    counts = np.bincount(batch.seen.items, minlength=N_ITEMS)
    catalogue = Catalogue(items, counts[:, None].astype(np.float32), Popularity(N_USERS, 2, n_pairs=int(counts.sum())))
    protocol = make_protocol(MEASURES, ties=ties, replicates=3, sampled=sampled)
    result = evaluate_batch(batch, catalogue, protocol)
    expected = np.hstack(
        [
            reference_sums(batch, batch.factors, items, counts, protocol),
            reference_sums(batch, np.ones((N_USERS, 1)), counts[:, None], counts, protocol),
        ]
    )
    np.testing.assert_allclose(result.sums.numerators[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(result.sums.denominators[0], expected[1], rtol=1e-12)
    in_training = sum(pair in set(zip(*batch.seen, strict=True)) for pair in zip(*batch.held_out, strict=True))
    assert result.counts["test_pairs_in_training"] == in_training
    assert result.counts["test_pairs_of_unknown_items"] == (batch.held_out.items < 0).sum()
    assert result.counts["test_pairs"] == len(batch.held_out.users)


@given(batch=batches())
def test_results_of_split_batches_add_up(batch):
    """However a batch is split, sums, counts and recommended items are the same."""
    items = np.random.default_rng(0).integers(-1, 2, size=(N_ITEMS, 2)).astype(np.float32)
    catalogue = Catalogue(items, None, None)
    protocol = make_protocol(make_measures(("recall", "coverage"), (3,)), replicates=2)
    whole = evaluate_batch(batch, catalogue, protocol)
    results = []
    for users in (slice(0, 2), slice(2, N_USERS)):
        inside = [(p.users >= users.start) & (p.users < users.stop) for p in (batch.held_out, batch.seen)]
        held_out, seen = (
            Pairs(p.users[i] - users.start, p.items[i])
            for p, i in zip((batch.held_out, batch.seen), inside, strict=True)
        )
        none = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
        keys, factors, ratings = batch.bootstrap_keys[users], batch.factors[users], batch.ratings[inside[0]]
        results.append(evaluate_batch(UserBatch(keys, factors, held_out, ratings, seen, none), catalogue, protocol))
    np.testing.assert_allclose((results[0].sums + results[1].sums).numerators, whole.sums.numerators, rtol=1e-12)
    best = {}
    for result in results:
        for item, rank in zip(*result.recommended[0], strict=True):
            best[item] = min(rank, best.get(item, 99))
    assert best == dict(zip(*whole.recommended[0], strict=True))
    assert (results[0].counts + results[1].counts)["users"] == whole.counts["users"]


def test_a_constant_score_has_no_hits_when_ties_count_against():
    """Ties count against the held-out item: a model that gives everything one score has no merit."""
    n = 50
    held_out = Pairs(np.arange(3), np.array([0, 7, 49], dtype=np.int32))
    none = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
    batch = UserBatch(np.arange(3, dtype=np.uint64), np.zeros((3, 4), np.float32), held_out, np.ones(3), none, none)
    catalogue = Catalogue(np.zeros((n, 4), np.float32), None, None)
    measures = make_measures(("recall", "percentile_rank"), (20,))
    values = {}
    for ties in ("against", "for"):
        sums = evaluate_batch(batch, catalogue, make_protocol(measures, ties=ties)).sums
        values[ties] = [estimate.value for estimate in estimate_metrics(sums)]
    assert values == {"against": [0.0, 1.0], "for": [1.0, 0.0]}
