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


def test_a_bucket_depends_on_the_id_alone():
    ids = pa.array([f"id {n}" for n in range(500)])
    np.testing.assert_array_equal(bucket_of(ids[100:200]), bucket_of(ids)[100:200])
    integers = pa.array([-100, 1, 2, 100])
    np.testing.assert_array_equal(bucket_of(integers.cast(pa.int8())), bucket_of(integers))


@pytest.mark.parametrize("n_blocks", [1, 2, 7, 100])
def test_blocks_of_long_tailed_items_cost_alike(n_blocks):
    costs = (1e6 / (np.random.default_rng(0).permutation(N_BUCKETS) + 20.0)).astype(np.int64)
    blocks = assign_by_cost(costs, n_blocks).block_of_bucket
    by_block = np.bincount(blocks, weights=costs, minlength=n_blocks)
    assert by_block.max() < 1.01 * by_block.mean()


def test_an_expensive_bucket_has_a_block_alone_and_none_is_empty():
    costs = np.ones(N_BUCKETS, dtype=np.int64)
    costs[5] = 10 * N_BUCKETS
    blocks = assign_by_cost(costs, 8).block_of_bucket
    assert np.flatnonzero(blocks == blocks[5]).tolist() == [5]
    without_costs = assign_by_cost(np.zeros(N_BUCKETS, dtype=np.int64), 9).block_of_bucket
    assert np.bincount(without_costs, minlength=9).min() >= N_BUCKETS // 9


def test_a_bucket_with_a_heavy_row_costs_as_much_as_a_mean_one():
    costs = np.full(N_BUCKETS, 10)
    costs[5] = 10**9
    of_block = np.bincount(assign_by_cost(costs, 8, row_limit=10**6).block_of_bucket, minlength=8)
    assert of_block.max() - of_block.min() <= 1
