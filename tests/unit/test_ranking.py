from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.ranking.kernels import numba_kernels
from wals_spark.ranking.tiles import Tiling
from wals_spark.ranking.top_k import ItemLists, pair_scores, ranks, top_k

COMPILED = [False, True] if numba_kernels() else [False]


@st.composite
def problems(draw):
    """Queries, items and lists; few distinct values, so that many scores tie, or normal ones with repeated rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, width = draw(st.integers(0, 9)), draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 7, 8, 19, 64]))
    if draw(st.booleans()):
        queries, items = rng.integers(-1, 2, (n, width)), rng.integers(-1, 2, (m, width))
    else:
        queries, items = rng.normal(size=(n, width)), rng.normal(size=(m, width))[rng.integers(m, size=m)]
    lists = [rng.random((n, m)) < draw(st.sampled_from([0.0, 0.2, 0.9, 1.0])) for _ in range(2)]
    sizes = draw(st.sampled_from([(256, 2048), (3, 5), (1, 1), (2, 64)]))
    return queries.astype(np.float32), items.astype(np.float32), *lists, sizes


def as_lists(mask):
    query, item = np.nonzero(mask)
    return ItemLists.of(query[::-1], item[::-1], len(mask))


def true_scores(queries, items):
    return (queries.astype(np.float64) @ items.T.astype(np.float64)).astype(np.float32)


def each_way(sizes):
    """With and without compiled kernels, in tiles of these sizes."""
    return [Tiling(*sizes, compiled=compiled) for compiled in COMPILED]


@given(problems(), st.integers(1, 50))
def test_the_top_k_are_those_of_a_full_stable_sort(problem, k):
    queries, items, excluded, _, sizes = problem
    scores = true_scores(queries, items)
    for tiling in each_way(sizes):
        best = top_k(queries, items, k, excluded=as_lists(excluded), tiling=tiling)
        assert best.positions.shape == best.scores.shape == (len(queries), k)
        for query in range(len(queries)):
            order = np.argsort(-scores[query], kind="stable")
            expected = [item for item in order if not excluded[query, item]][:k]
            missing = k - len(expected)
            assert best.positions[query].tolist() == expected + [-1] * missing
            assert best.scores[query].tolist() == scores[query][expected].tolist() + [-np.inf] * missing


@given(problems(), st.sampled_from(["order", "against", "for"]))
def test_ranks_are_those_of_a_full_sort(problem, ties):
    queries, items, excluded, wanted, sizes = problem
    scores = true_scores(queries, items)
    expected = []
    for query, item in np.argwhere(wanted):
        others = [j for j in range(len(items)) if j != item and (wanted[query, j] or not excluded[query, j])]
        better = [j for j in others if scores[query, j] > scores[query, item]]
        tied = [j for j in others if scores[query, j] == scores[query, item]]
        before = {"order": [j for j in tied if j < item], "against": tied, "for": []}[ties]
        expected.append(len(better) + len(before))
    for tiling in each_way(sizes):
        counted = ranks(queries, items, as_lists(wanted), excluded=as_lists(excluded), ties=ties, tiling=tiling)
        assert counted.tolist() == expected


@given(problems())
def test_without_exclusions_the_nth_best_item_has_rank_n(problem):
    queries, items, *_, sizes = problem
    for tiling in each_way(sizes):
        best = top_k(queries, items, len(items), tiling=tiling)
        order = np.sort(best.positions, axis=1)
        n = np.arange(len(queries) + 1, dtype=np.int64) * len(items)
        by_item = ranks(queries, items, ItemLists(n, order.ravel()), tiling=tiling).reshape(best.positions.shape)
        assert (np.take_along_axis(by_item, best.positions, axis=1) == np.arange(len(items))).all()


def test_equal_rows_get_equal_scores_and_come_in_order():
    """BLAS alone does not ensure that: its kernels for the edges of a product sum in another order."""
    rng = np.random.default_rng(0)
    items = np.repeat(rng.normal(size=(1, 64)), 5000, axis=0).astype(np.float32)
    queries = np.repeat(rng.normal(size=(1, 64)), 300, axis=0).astype(np.float32)
    for tiling in each_way((256, 2048)):
        best = top_k(queries, items, 100, tiling=tiling)
        assert (best.positions == np.arange(100)).all()
        assert len(np.unique(best.scores)) == 1


@pytest.mark.skipif(len(COMPILED) < 2, reason="Numba is not installed")
def test_compiled_ranking_has_the_same_bits_as_numpy():
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(300, 50)).astype(np.float32)
    items = (rng.normal(size=(5000, 50)) * rng.pareto(2, size=(5000, 1))).astype(np.float32)
    excluded, wanted = (as_lists(rng.random((300, 5000)) < share) for share in (0.02, 0.001))
    answers = []
    for tiling in each_way((256, 2048)):
        best = top_k(queries, items, 20, excluded=excluded, tiling=tiling)
        answers.append((*best, ranks(queries, items, wanted, excluded=excluded, tiling=tiling)))
    for by_numpy, by_kernels in zip(*answers, strict=True):
        np.testing.assert_array_equal(by_numpy, by_kernels)


def test_lists_are_sorted_distinct_and_known():
    lists = ItemLists.of(np.array([2, 0, 2, 2, 0]), np.array([7, -1, 3, 7, 0]), 4)
    assert lists.indptr.tolist() == [0, 1, 1, 3, 3]
    assert lists.positions.tolist() == [0, 3, 7]
    assert lists.batch(1, 4).indptr.tolist() == [0, 0, 2, 2]
    assert lists.batch(1, 4).positions.tolist() == [3, 7]
    assert lists.queries().tolist() == [0, 2, 2]
    assert ItemLists.empty(2).batch(0, 1).indptr.tolist() == [0, 0]


def test_pair_scores_are_the_dot_products_rounded_once():
    rng = np.random.default_rng(0)
    queries, items = rng.normal(size=(3, 13)).astype(np.float32), rng.normal(size=(6, 13)).astype(np.float32)
    every = ItemLists(np.arange(4, dtype=np.int64) * 6, np.tile(np.arange(6, dtype=np.int32), 3))
    np.testing.assert_array_equal(pair_scores(queries, items, every).reshape(3, 6), true_scores(queries, items))
