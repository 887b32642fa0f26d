"""The functions of tasks: what they read from the cache of their machine, and what only other machines have."""

from __future__ import annotations

import numpy as np
import pytest
from objectives import make_objective

from wals_spark.blocks.encoding import cut, group_records, join, keyed, records_of, to_records
from wals_spark.blocks.in_out import OutBlock
from wals_spark.blocks.weighted import WeightedBlock, weight_observations
from wals_spark.errors import TrainingError
from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.solvers.half_iteration import Solver
from wals_spark.solvers.heavy_rows import NO_HEAVY_ROWS
from wals_spark.spark.training.cache import BlockCache, CachedSide, CacheLocation
from wals_spark.spark.training.tasks import (
    HalfIterationTask,
    MergedSummaries,
    send_block,
    send_cached_rows,
    solve_block,
)

WIDTH, OBJECTIVE, SOLVER = 4, make_objective(reg_param=0.5), Solver("cg", 3, relaxation=1.5)
ELSEWHERE = "another-machine"


class Blocks:
    """Two blocks of users with current factors, three of items that are fixed; all cached on this machine."""

    def __init__(self, sc) -> None:
        rng = np.random.default_rng(4)
        users, items = np.nonzero(rng.random((40, 30)) < 0.3)
        ratings = rng.integers(1, 9, size=len(users))
        sides = build_blocks(Interactions(users, items, ratings), user_blocks=2, item_blocks=3)[:2]
        self.weighted = {s.name: [weight_observations(block, OBJECTIVE, None) for block in s.in_blocks] for s in sides}
        self.out_blocks = {side.name: side.out_blocks for side in sides}
        self.factors = {
            name: [rng.standard_normal((block.n_rows, WIDTH)).astype(np.float32) for block in blocks]
            for name, blocks in self.weighted.items()
        }
        self.steps = {"items": 7, "users": 6}
        self.locations = {name: {} for name in self.weighted}
        for name, blocks in self.weighted.items():
            for number, block in enumerate(blocks):
                cache = BlockCache.of("training", name, number)
                cache.save_arrays([*block.arrays(), *NO_HEAVY_ROWS.arrays(), *self.out_blocks[name][number].arrays()])
                cache.save_factors(self.factors[name][number], self.steps[name])
                self.locations[name][number] = cache.location
        self.gramian = sc.broadcast(sum(f.T.astype(np.float64) @ f for f in self.factors["items"]))
        self.summaries = sc.accumulator({}, MergedSummaries())

    def cached(self, name, elsewhere=()):
        moved = {block: CacheLocation(ELSEWHERE, self.locations[name][block].folder) for block in elsewhere}
        return CachedSide({**self.locations[name], **moved}, self.steps[name])

    def rows_of(self, source, *, to):
        """What an item block sends from its records."""
        factors = cut("factors", self.factors["items"][source])
        records = [*to_records(self.out_blocks["items"][source].arrays()), *factors]
        sent = send_block(
            source,
            keyed(source, records),
            width=WIDTH,
            unobserved_weight_in_confidence=OBJECTIVE.unobserved_weight_in_confidence,
        )
        return [(block, record) for block, record in sent if block == to]

    def solved(self, block, records, cached=None):
        self.summaries.value = {}
        task = HalfIterationTask(8, "users", OBJECTIVE, self.summaries, SOLVER, step=8, cached=cached)
        solved = list(solve_block(block, records, task=task, gramian=self.gramian))
        assert all(to == block for to, _ in solved)
        factors = join(records_of(group_records(record for _, record in solved), "factors"), np.float32)
        return factors.reshape(-1, WIDTH), self.summaries.value[8, block]

    def from_records(self, block, rows=None):
        """What a task solves that is sent all that it needs; of its current factors the first ``rows``."""
        factors = cut("factors", self.factors["users"][block][:rows])
        records = [*to_records(self.weighted["users"][block].arrays()), *(factors if rows != 0 else ())]
        received = [row for source in range(3) for row in self.rows_of(source, to=block)]
        return self.solved(block, [*keyed(block, records), *received])


@pytest.fixture
def blocks(spark, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    return Blocks(spark.sparkContext)


@pytest.mark.parametrize("elsewhere", [(), (1,), (0, 1, 2)])
def test_cached_rows_and_sent_rows_give_the_same_solution(blocks, elsewhere):
    sent = [row for source in elsewhere for row in blocks.rows_of(source, to=0)]
    factors, summary = blocks.solved(0, sent, (blocks.cached("users"), blocks.cached("items", elsewhere)))
    expected, expected_summary = blocks.from_records(0)
    np.testing.assert_array_equal(factors, expected)
    assert (summary.observed, summary.penalty) == (expected_summary.observed, expected_summary.penalty)
    assert summary.location == blocks.locations["users"][0]


@pytest.mark.parametrize(
    ("users_elsewhere", "items_elsewhere"), [((0,), ()), ((), (1,))], ids=["its own files", "rows that no block sent"]
)
def test_a_task_that_misses_its_cache_says_so(blocks, users_elsewhere, items_elsewhere):
    cached = blocks.cached("users", users_elsewhere), blocks.cached("items", items_elsewhere)
    factors, summary = blocks.solved(0, [], cached)
    assert not len(factors)
    assert summary is None


@pytest.mark.parametrize("rows", [0, 3])
def test_lost_current_factors_are_an_error_and_not_zeros(blocks, rows):
    with pytest.raises(TrainingError, match=rf"block 0 of users has {rows} rows of current factors where it has \d+"):
        blocks.from_records(0, rows=rows)


def test_cached_rows_are_sent_to_other_machines_only(blocks):
    sent = list(
        send_cached_rows(
            2,
            [],
            fixed=blocks.cached("items"),
            destinations=blocks.cached("users", [1]),
            unobserved_weight_in_confidence=1.0,
        )
    )
    assert sent == blocks.rows_of(2, to=1)
    assert sent
    gone = send_cached_rows(
        2,
        [],
        fixed=blocks.cached("items", [2]),
        destinations=blocks.cached("users", [1]),
        unobserved_weight_in_confidence=1.0,
    )
    assert not list(gone)


def test_the_cache_keeps_the_factors_of_the_last_two_steps(blocks):
    cache = BlockCache.at(blocks.locations["users"][1])
    rows = blocks.factors["users"][1]
    for step in (8, 10):
        cache.save_factors(rows * step, step)
    cache.save_factors(rows * 10, 10)  # repeated
    np.testing.assert_array_equal(cache.factors(8), rows * 8)
    np.testing.assert_array_equal(cache.factors(10), rows * 10)
    with pytest.raises(FileNotFoundError):
        cache.factors(6)


def test_a_training_replaces_the_cache_of_an_earlier_one(blocks):
    weighted, out_block = blocks.weighted["items"][0], blocks.out_blocks["items"][0]
    cache = BlockCache.of("later", "items", 0)
    cache.save_arrays([*weighted.arrays(), *out_block.arrays()])
    np.testing.assert_array_equal(WeightedBlock.read(cache.arrays).positions, weighted.positions)
    assert {to: rows.tolist() for to, rows in OutBlock.read(cache.arrays).items()} == {
        to: rows.tolist() for to, rows in out_block.items()
    }
    with pytest.raises(FileNotFoundError):
        WeightedBlock.read(BlockCache.at(blocks.locations["items"][0]).arrays)
    other = WeightedBlock.read(BlockCache.at(blocks.locations["items"][1]).arrays)
    assert other.n_rows == blocks.weighted["items"][1].n_rows
