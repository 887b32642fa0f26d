"""A task's work as a function: what it was left on its machine, and what only other machines have."""

from __future__ import annotations

import numpy as np
import pytest
from objectives import make_objective
from wals_spark.blocks.records import cut, group_records, join, records_of

from wals_spark.blocks.in_out import out_block_records
from wals_spark.blocks.weighted import weight_observations
from wals_spark.local import training as local_training
from wals_spark.solvers.half_iteration import Solver
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
    """Two blocks of users who stand somewhere, three of items that are fixed; all of them left on this machine."""

    def __init__(self, sc) -> None:
        rng = np.random.default_rng(4)
        users, items = np.nonzero(rng.random((40, 30)) < 0.3)
        ratings = rng.integers(1, 9, size=len(users))
        sides = local_training.build_blocks(users, items, ratings, user_blocks=2, item_blocks=3)[:2]
        self.weighted = {s.name: [weight_observations(block, OBJECTIVE, None) for block in s.in_blocks] for s in sides}
        self.out_blocks = {side.name: side.out_blocks for side in sides}
        self.factors = {
            name: [rng.standard_normal((block.n_rows, WIDTH)).astype(np.float32) for block in blocks]
            for name, blocks in self.weighted.items()
        }
        self.turns = {"items": 7, "users": 6}
        self.places = {name: {} for name in self.weighted}
        for name, blocks in self.weighted.items():
            for number, block in enumerate(blocks):
                files = BlockCache.of("training", name, number)
                files.save_blocks(block, self.out_blocks[name][number])
                files.save_factors(self.factors[name][number], self.turns[name])
                self.places[name][number] = files.place
        self.gramian = sc.broadcast(sum(f.T.astype(np.float64) @ f for f in self.factors["items"]))
        self.summaries = sc.accumulator({}, MergedSummaries())

    def left(self, name, elsewhere=()):
        moved = {block: CacheLocation(ELSEWHERE, self.places[name][block].folder) for block in elsewhere}
        return CachedSide({**self.places[name], **moved}, self.turns[name])

    def rows_of(self, source, *, to):
        """What an item block that has been sent everything sends."""
        records = [*out_block_records(self.out_blocks["items"][source]), *cut("factors", self.factors["items"][source])]
        sent = send_block(
            source,
            [(source, record) for record in records],
            width=WIDTH,
            unobserved_weight_in_confidence=OBJECTIVE.unobserved_weight_in_confidence,
        )
        return [(block, record) for block, record in sent if block == to]

    def solved(self, block, records, left=None):
        self.summaries.value = {}
        task = HalfIterationTask(8, "users", OBJECTIVE, self.summaries, SOLVER, turn=8, left=left)
        solved = list(solve_block(block, records, task=task, gramian=self.gramian))
        assert all(to == block for to, _ in solved)
        factors = join(records_of(group_records(record for _, record in solved), "factors"), np.float32)
        return factors.reshape(-1, WIDTH), self.summaries.value[8, block]

    def as_sent(self, block):
        """What comes out when a task is sent all that it needs."""
        records = [*self.weighted["users"][block].records(), *cut("factors", self.factors["users"][block])]
        received = [row for source in range(3) for row in self.rows_of(source, to=block)]
        return self.solved(block, [*((block, record) for record in records), *received])


@pytest.fixture
def blocks(spark, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    return Blocks(spark.sparkContext)


@pytest.mark.parametrize("elsewhere", [(), (1,), (0, 1, 2)])
def test_rows_come_from_this_machine_or_are_sent_and_the_solution_is_the_same(blocks, elsewhere):
    sent = [row for source in elsewhere for row in blocks.rows_of(source, to=0)]
    factors, summary = blocks.solved(0, sent, (blocks.left("users"), blocks.left("items", elsewhere)))
    expected, expected_summary = blocks.as_sent(0)
    np.testing.assert_array_equal(factors, expected)
    assert (summary.observed, summary.penalty) == (expected_summary.observed, expected_summary.penalty)
    assert summary.place == blocks.places["users"][0]


@pytest.mark.parametrize(
    ("users_elsewhere", "items_elsewhere"), [((0,), ()), ((), (1,))], ids=["its own files", "rows that nobody sent"]
)
def test_a_task_that_misses_something_says_so_and_solves_nothing(blocks, users_elsewhere, items_elsewhere):
    left = blocks.left("users", users_elsewhere), blocks.left("items", items_elsewhere)
    factors, summary = blocks.solved(0, [], left)
    assert not len(factors)
    assert summary is None


def test_rows_are_sent_to_other_machines_and_to_no_block_of_this_one(blocks):
    sent = list(
        send_cached_rows(
            2,
            [],
            fixed=blocks.left("items"),
            destinations=blocks.left("users", [1]),
            unobserved_weight_in_confidence=1.0,
        )
    )
    assert sent == blocks.rows_of(2, to=1)
    assert sent
    gone = send_cached_rows(
        2,
        [],
        fixed=blocks.left("items", [2]),
        destinations=blocks.left("users", [1]),
        unobserved_weight_in_confidence=1.0,
    )
    assert not list(gone)


def test_a_block_keeps_the_factors_that_a_repeated_task_would_start_from_and_none_older(blocks):
    files = BlockCache.at(blocks.places["users"][1])
    rows = blocks.factors["users"][1]
    for turn in (8, 10):
        files.save_factors(rows * turn, turn)
    files.save_factors(rows * 10, 10)  # repeated
    np.testing.assert_array_equal(files.factors(8), rows * 8)
    np.testing.assert_array_equal(files.factors(10), rows * 10)
    with pytest.raises(FileNotFoundError):
        files.factors(6)


def test_a_training_takes_the_place_of_an_earlier_one(blocks):
    weighted, out_block = blocks.weighted["items"][0], blocks.out_blocks["items"][0]
    files = BlockCache.of("later", "items", 0)
    files.save_blocks(weighted, out_block)
    np.testing.assert_array_equal(files.weighted().positions, weighted.positions)
    assert {to: rows.tolist() for to, rows in files.out_block().items()} == {
        to: rows.tolist() for to, rows in out_block.items()
    }
    with pytest.raises(FileNotFoundError):
        BlockCache.at(blocks.places["items"][0]).weighted()
    assert BlockCache.at(blocks.places["items"][1]).weighted().n_rows == blocks.weighted["items"][1].n_rows
