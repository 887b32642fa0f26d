from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from wals_spark.blocks.assignment import N_BUCKETS, assign_by_cost, bucket_of


@pytest.mark.parametrize(
    "ids",
    [range(-30_000, 30_000), [1_000 * n for n in range(60_000)], [f"ü{n}" for n in range(60_000)]],
    ids=["numbers", "multiples", "strings"],
)
def test_ids_spread_over_all_buckets(ids):
    sizes = np.bincount(bucket_of(pa.array(ids)), minlength=N_BUCKETS)
    assert (sizes == 0).mean() < 0.04  # 60,000 thrown at random leave 2.6 % empty
    assert sizes.max() < 20


def test_a_bucket_is_of_the_id_alone_whatever_its_neighbours_and_its_width():
    ids = pa.array([f"id {n}" for n in range(500)])
    np.testing.assert_array_equal(bucket_of(ids[100:200]), bucket_of(ids)[100:200])
    some = pa.array([-100, 1, 2, 100])
    np.testing.assert_array_equal(bucket_of(some.cast(pa.int8())), bucket_of(some))


@pytest.mark.parametrize("n_blocks", [1, 2, 7, 100])
def test_blocks_of_long_tailed_items_cost_alike(n_blocks):
    costs = (1e6 / (np.random.default_rng(0).permutation(N_BUCKETS) + 20.0)).astype(np.int64)
    blocks = assign_by_cost(costs, n_blocks)
    by_block = np.bincount(blocks, weights=costs, minlength=n_blocks)
    assert by_block.max() < 1.01 * by_block.mean()


def test_a_bucket_that_costs_more_than_a_block_has_one_for_itself_and_no_block_is_empty():
    costs = np.ones(N_BUCKETS, dtype=np.int64)
    costs[5] = 10 * N_BUCKETS
    blocks = assign_by_cost(costs, 8)
    assert np.flatnonzero(blocks == blocks[5]).tolist() == [5]
    assert np.bincount(assign_by_cost(np.zeros(N_BUCKETS, dtype=np.int64), 9), minlength=9).min() >= N_BUCKETS // 9


def test_a_bucket_of_a_row_that_others_sum_costs_its_block_no_more_than_a_mean_one():
    costs = np.full(N_BUCKETS, 10)
    costs[5] = 10**9
    of_block = np.bincount(assign_by_cost(costs, 8, row_limit=10**6), minlength=8)
    assert of_block.max() - of_block.min() <= 1
