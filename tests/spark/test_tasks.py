"""The functions of tasks: what they read from the cache of their machine, and what only other machines have."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from objectives import make_objective

from wals_spark.blocks.encoding import cut, group_records, join, keyed, records_of, to_records
from wals_spark.blocks.weighted import WeightedBlock, weight_observations
from wals_spark.errors import TrainingError
from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.solvers.half_iteration import Solver
from wals_spark.solvers.heavy_rows import NO_HEAVY_ROWS
from wals_spark.spark.training.cache import BlockCache, CachedSide, CacheLocation, delete_training
from wals_spark.spark.training.sending import send_block, send_cached_rows
from wals_spark.spark.training.tasks import HalfIterationTask, MergedSummaries, keep_solved, solve_block

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
            for number in range(len(blocks)):
                cache = BlockCache.saved("training", name, number, self.arrays(name, number))
                cache.save_factors(self.factors[name][number], self.steps[name])
                self.locations[name][number] = cache.location
        self.gramian = sc.broadcast(sum(f.T.astype(np.float64) @ f for f in self.factors["items"]))
        self.summaries = sc.accumulator({}, MergedSummaries())

    def arrays(self, name, number):
        """All that is cached of a block before it is solved."""
        own, out_block = self.weighted[name][number], self.out_blocks[name][number]
        return [*own.arrays(), *NO_HEAVY_ROWS.arrays(), *out_block.arrays()]

    def cached(self, name, elsewhere=()):
        moved = {block: CacheLocation(ELSEWHERE, self.locations[name][block].folder) for block in elsewhere}
        return CachedSide({**self.locations[name], **moved}, self.steps[name])

    def rows_of(self, source, *, to, only=None):
        """What an item block sends from its records."""
        factors = cut("factors", self.factors["items"][source])
        records = [*to_records(self.out_blocks["items"][source].arrays()), *factors]
        sent = send_block(
            source,
            keyed(source, records),
            width=WIDTH,
            unobserved_weight_in_confidence=OBJECTIVE.unobserved_weight_in_confidence,
            only=only,
        )
        return [(block, record) for block, record in sent if block == to]

    def solved(self, block, records, cached=None, **options):
        self.summaries.value = {}
        task = HalfIterationTask(8, "users", OBJECTIVE, self.summaries, SOLVER, step=8, cached=cached, **options)
        solved = list(solve_block(block, records, task=task, gramian=self.gramian))
        assert all(to == block for to, _ in solved)
        factors = join(records_of(group_records(record for _, record in solved), "factors"), np.float32)
        return factors.reshape(-1, WIDTH), self.summaries.value.get((8, block))

    def from_records(self, block, rows=None, **options):
        """What a task solves that is sent all that it needs; of its current factors the first ``rows``."""
        factors = cut("factors", self.factors["users"][block][:rows])
        records = [*to_records(self.weighted["users"][block].arrays()), *(factors if rows != 0 else ())]
        received = [row for source in range(3) for row in self.rows_of(source, to=block)]
        return self.solved(block, [*keyed(block, records), *received], **options)


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


DAMAGES = {
    "a cut array": lambda folder: _cut(next(folder.glob("*.positions.0.npy"))),
    "a missing array": lambda folder: next(folder.glob("*.positions.0.npy")).unlink(),
    "a cut index": lambda folder: _cut(folder / "index.json"),
    "an index of another kind": lambda folder: (folder / "index.json").write_text("7"),
    "cut factors": lambda folder: _cut(next(folder.glob("factors-6-*.npy"))),
    "empty factors": lambda folder: next(folder.glob("factors-6-*.npy")).write_bytes(b""),
    "a folder where a file was": lambda folder: _replaced_by_folder(folder / "index.json"),
}


def _cut(file):
    file.write_bytes(file.read_bytes()[:-5])


def _replaced_by_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_wrong_with_the_cache_is_a_miss(blocks, damage):
    folder = Path(blocks.locations["users"][0].folder)
    DAMAGES[damage](folder)
    assert blocks.solved(0, [], (blocks.cached("users"), blocks.cached("items")))[1] is None
    factors, summary = blocks.from_records(0, training="training")  # sent everything, the task caches it anew
    assert summary.location == blocks.locations["users"][0]
    again = blocks.solved(0, [], (CachedSide(blocks.locations["users"], 8), blocks.cached("items")))
    assert again[1] is not None
    assert len(factors) == len(again[0])


def test_two_attempts_may_cache_one_block_at_the_same_time(blocks):
    def save(_):
        cache = BlockCache.saved("twice", "users", 0, blocks.arrays("users", 0))
        cache.save_factors(blocks.factors["users"][0], 2)
        np.testing.assert_array_equal(cache.factors(2), blocks.factors["users"][0])
        return WeightedBlock.read(cache.arrays).n_rows

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(save, range(100))) == {blocks.weighted["users"][0].n_rows}
    folder = Path(blocks.locations["users"][0].folder).parent.parent / "twice"
    assert [path.name for path in folder.iterdir()] == ["users-0"]


def test_all_local_directories_are_used(blocks, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path}/a,{tmp_path}/b,{tmp_path}/c")
    (tmp_path / "b").write_text("no folder, as a disk that is gone")

    def folder_of(block):
        folder = BlockCache.saved("new", "users", block, blocks.arrays("users", 0)).folder
        return folder.relative_to(tmp_path).parts[0]

    assert [folder_of(block) for block in range(6)] == ["a", "c", "c", "a", "c", "c"]
    delete_training("new")
    assert not [*tmp_path.glob("*/wals_spark/*/new")]
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path}/b")
    factors, summary = blocks.from_records(0, training="nowhere")
    assert summary.location is None
    assert "Not a directory" in summary.cache_failure
    np.testing.assert_array_equal(factors, blocks.from_records(0)[0])


def test_memory_is_no_place_for_the_cache(blocks, monkeypatch):
    if not Path("/dev/shm").is_dir():
        pytest.skip("this machine has no /dev/shm, a folder in memory")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setenv("SPARK_LOCAL_DIRS", folder)
        assert "is in memory" in blocks.from_records(0, training="here")[1].cache_failure
        assert not [*Path(folder).iterdir()]


def test_trainings_have_caches_of_their_own(blocks):
    weighted = blocks.weighted["items"][0]
    later = BlockCache.saved("later", "items", 0, [*weighted.arrays()])
    earlier = BlockCache.at(blocks.locations["items"][0])
    for cache in (earlier, later):
        np.testing.assert_array_equal(WeightedBlock.read(cache.arrays).positions, weighted.positions)
    delete_training("later")
    assert not later.folder.exists()
    assert earlier.folder.exists()


def test_only_the_blocks_that_are_asked_for_are_solved(blocks):
    factors, summary = blocks.from_records(0, only=frozenset({1}))
    assert not len(factors)
    assert summary is None
    sent = blocks.rows_of(2, to=0, only=frozenset({0}))
    assert sent == blocks.rows_of(2, to=0)
    assert not blocks.rows_of(2, to=1, only=frozenset({0}))


def test_factors_that_are_there_twice_are_kept_once():
    records = [(1, record) for record in cut("factors", np.zeros((10, 4), dtype=np.float32), record_bytes=64)]
    assert [*keep_solved(1, [*records, *records], only=frozenset({1}))] == records
    assert [*keep_solved(1, records, only=frozenset({2}))] == records
