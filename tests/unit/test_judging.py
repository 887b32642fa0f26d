from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.evaluation.bootstrap import estimates
from wals_spark.evaluation.metrics import Measures, Popularity
from wals_spark.evaluation.user_batch import Batch, Catalogue, Pairs, Protocol, evaluate_batch

N_USERS, N_ITEMS = 5, 9
MEASURES = Measures(("recall", "mrr", "percentile_rank", "novelty"), (1, 4))


def pairs_of(matrix, unknown=()):
    """Pairs that are set in a matrix, and an unknown item for some users."""
    users, items = np.nonzero(matrix)
    users, items = np.append(users, list(unknown)), np.append(items, [-1] * len(unknown))
    return Pairs(users.astype(np.int64), items.astype(np.int32))


@st.composite
def batches(draw):
    """Scores with ties, test and training that share pairs, unknown items, users without any test pair."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(-1, 2, size=(N_USERS, 2)).astype(np.float32)
    tested, seen, candidates = rng.random((3, N_USERS, N_ITEMS)) < draw(st.sampled_from([0.2, 0.5]))
    unknown = np.flatnonzero(rng.random(N_USERS) < 0.3)
    pairs = pairs_of(tested, unknown)
    order = rng.permutation(len(pairs.users))
    keys = rng.integers(2**63, size=N_USERS).astype(np.uint64)
    ratings = rng.integers(1, 5, size=len(order)).astype(float)
    pairs = Pairs(pairs.users[order], pairs.items[order])
    return Batch(keys, rows, pairs, ratings, pairs_of(seen), pairs_of(candidates, unknown))


def by_the_book(batch, rows, items, counts, protocol):
    """Each metric of `MEASURES` as a ratio of two plain sums, user by user."""
    scores = rows @ items.T
    sums = np.zeros((2, 7))
    for user in range(N_USERS):
        seen = set(batch.seen.items[batch.seen.users == user])
        own = batch.tested.users == user
        test = [(i, r) for i, r in zip(batch.tested.items[own], batch.ratings[own], strict=True) if i not in seen]
        known = {i for i, _ in test if i >= 0}
        if not test:
            continue
        unseen = [i for i in range(N_ITEMS) if i not in seen]
        candidates = unseen
        if protocol.sampled:
            candidates = sorted(known | set(batch.candidates.items[batch.candidates.users == user]) - {-1})
        others = set(candidates) - known
        first = {"order": set(), "against": others, "for": known}[protocol.ties]
        order = sorted(candidates, key=lambda i: (-scores[user, i], i not in first, i))
        for number, k in enumerate((1, 4)):
            hits = [place for place, i in enumerate(order[:k]) if i in known]
            shown = sorted(unseen, key=lambda i: (-scores[user, i], i))[:k]
            sums[:, number] += len(hits) / len(test), 1
            sums[:, 2 + number] += 1 / (hits[0] + 1) if hits else 0, 1
            sums[:, 5 + number] += sum(-np.log2(max(counts[i], 1) / N_USERS) for i in shown), len(shown)
        for i, r in test:
            sums[:, 4] += r * (order.index(i) / max(1, len(order) - 1) if i >= 0 else 1.0), r
    return sums


@pytest.mark.parametrize("ties", ["against", "order", "for"])
@pytest.mark.parametrize("sampled", [False, True])
@given(batch=batches())
def test_the_model_and_popularity_are_judged_as_by_the_book(batch, sampled, ties):
    items = np.random.default_rng(0).integers(-1, 2, size=(N_ITEMS, 2)).astype(np.float32)
    counts = np.bincount(batch.seen.items, minlength=N_ITEMS)
    popularity = Popularity(N_USERS, 2)
    protocol = Protocol(MEASURES, ties=ties, replicates=3, sampled=sampled)
    outcome = evaluate_batch(batch, Catalogue(items, counts[:, None].astype(np.float32), popularity), protocol)
    expected = np.hstack(
        [
            by_the_book(batch, batch.rows, items, counts, protocol),
            by_the_book(batch, np.ones((N_USERS, 1)), counts[:, None], counts, protocol),
        ]
    )
    np.testing.assert_allclose(outcome.sums.numerators[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(outcome.sums.denominators[0], expected[1], rtol=1e-12)
    shared = sum(pair in set(zip(*batch.seen, strict=True)) for pair in zip(*batch.tested, strict=True))
    assert outcome.counts["test_pairs_in_training"] == shared
    assert outcome.counts["test_pairs_of_unknown_items"] == (batch.tested.items < 0).sum()
    assert outcome.counts["test_pairs"] == len(batch.tested.users)


@given(batch=batches())
def test_users_judged_apart_add_up_to_users_judged_together(batch):
    """However a batch is cut, sums, counts and recommended items are the same."""
    items = np.random.default_rng(0).integers(-1, 2, size=(N_ITEMS, 2)).astype(np.float32)
    catalogue = Catalogue(items, None, None)
    protocol = Protocol(Measures(("recall", "coverage"), (3,)), replicates=2)
    whole = evaluate_batch(batch, catalogue, protocol)
    parts = []
    for some in (slice(0, 2), slice(2, N_USERS)):
        inside = [(p.users >= some.start) & (p.users < some.stop) for p in (batch.tested, batch.seen)]
        tested, seen = (
            Pairs(p.users[i] - some.start, p.items[i]) for p, i in zip((batch.tested, batch.seen), inside, strict=True)
        )
        nothing = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
        part = Batch(batch.keys[some], batch.rows[some], tested, batch.ratings[inside[0]], seen, nothing)
        parts.append(evaluate_batch(part, catalogue, protocol))
    np.testing.assert_allclose((parts[0].sums + parts[1].sums).numerators, whole.sums.numerators, rtol=1e-12)
    best = {}
    for part in parts:
        for item, place in zip(*part.recommended[0], strict=True):
            best[item] = min(place, best.get(item, 99))
    assert best == dict(zip(*whole.recommended[0], strict=True))
    assert (parts[0].counts + parts[1].counts)["users"] == whole.counts["users"]


def test_a_model_that_gives_everything_one_score_finds_nothing_in_long_lists():
    """Ties count against the test item: chance is not a model's merit."""
    n = 50
    one = Pairs(np.arange(3), np.array([0, 7, 49], dtype=np.int32))
    none = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
    batch = Batch(np.arange(3, dtype=np.uint64), np.zeros((3, 4), np.float32), one, np.ones(3), none, none)
    catalogue = Catalogue(np.zeros((n, 4), np.float32), None, None)
    found = {}
    for ties in ("against", "for"):
        sums = evaluate_batch(
            batch, catalogue, Protocol(Measures(("recall", "percentile_rank"), (20,)), ties=ties)
        ).sums
        found[ties] = [estimate.value for estimate in estimates(sums)]
    assert found == {"against": [0.0, 1.0], "for": [1.0, 0.0]}
