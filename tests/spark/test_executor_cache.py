"""What tasks find on their machine is not sent to them, what is missing is, and what Spark keeps does not grow."""

from __future__ import annotations

import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from log_lines import CACHE_MISS
from objectives import train_settings
from spark_training import interactions, matrix, trained_on


@pytest.mark.parametrize("solver", ["cg", pytest.param("cholesky", marks=pytest.mark.slow)])
def test_one_machine_shuffles_nothing_from_the_second_iteration(spark, tmp_path, solver):
    context = spark.sparkContext._jsc.sc()
    seen = []

    def look(_):
        context.listenerBus().waitUntilEmpty()
        executor = context.statusStore().executorSummary("driver")
        seen.append((executor.totalShuffleWrite(), executor.completedTasks()))

    settings = train_settings(rank=6, max_iter=4, user_blocks=3, item_blocks=2, solver=solver)
    trained_on(tmp_path, interactions(spark), settings, report=look)
    written, tasks = np.array(seen).T
    assert written[0] < written[1]
    assert set(written[1:]) == {written[1]}
    assert np.diff(tasks)[1:].tolist() == [2, 3, 2, 3, 2, 3]  # one for each block that is solved


class Loss(NamedTuple):
    """What of the cache is lost after which half-iterations, and how often training then says that it sends it."""

    of: str
    after: tuple[int, ...]
    messages: int  # two where each side has lost its own
    heavy_row_threshold: int = 0


LOSSES = [
    Loss("blocks", (4,), 2),
    Loss("factors", (4,), 2),
    Loss("factors", (3, 4, 5, 6, 7), 3),
    Loss("blocks", (4,), 2, heavy_row_threshold=7),
]


@pytest.fixture(scope="module")
def undisturbed():
    """Factors of both sides where nothing is lost, by the threshold of heavy rows; the first test adds them."""
    return {}


@pytest.mark.parametrize(
    "loss", [pytest.param(LOSSES[0]), *(pytest.param(loss, marks=pytest.mark.exhaustive) for loss in LOSSES[1:])]
)
def test_blocks_missing_from_the_cache_are_sent(spark, tmp_path, local_dir, caplog, undisturbed, loss):
    def on_half_iteration(events):
        if len(events) in loss.after:
            lose(loss.of, local_dir)

    threshold = loss.heavy_row_threshold
    settings = train_settings(rank=6, max_iter=5, user_blocks=3, item_blocks=2, heavy_row_threshold=threshold)
    caplog.set_level("INFO", "wals_spark")
    sides = trained_on(tmp_path / "lost", interactions(spark), settings, report=on_half_iteration)[:2]
    assert caplog.text.count(CACHE_MISS) == loss.messages
    assert caplog.text.count("in the next 10 half-iterations") == (loss.messages == 3)
    assert not [*local_dir.glob("*/wals_spark/*")]
    if threshold not in undisturbed:
        caplog.clear()
        undisturbed[threshold] = trained_on(tmp_path / "whole", interactions(spark), settings)[:2]
        assert CACHE_MISS not in caplog.text
    for factors, expected in zip(sides, undisturbed[threshold], strict=True):
        np.testing.assert_array_equal(matrix(factors), matrix(expected))


def lose(what, local_dir):
    """Delete all blocks, or their factors, from the cache."""
    (training,) = local_dir.glob("*/wals_spark/*")  # that of this test: others went with their trainings
    cached = [*training.glob("[iu]*")]
    assert {folder.name for folder in cached} == {"items-0", "items-1", "users-0", "users-1", "users-2"}
    for folder in cached:
        if what == "blocks":
            shutil.rmtree(folder)
        else:
            for file in folder.glob("factors-*.npy"):
                file.unlink()


@pytest.mark.slow
def test_two_trainings_in_two_threads_do_not_disturb_each_other(spark, tmp_path):
    table = interactions(spark)

    def factors(seed):
        settings = train_settings(rank=6, max_iter=5, user_blocks=3, item_blocks=2, seed=seed)
        return [matrix(side) for side in trained_on(tmp_path / uuid.uuid4().hex, table, settings)[:2]]

    alone = [factors(seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as threads:
        together = [*threads.map(factors, (0, 1))]
    for sides, expected in zip(together, alone, strict=True):
        for side, of_alone in zip(sides, expected, strict=True):
            np.testing.assert_array_equal(side, of_alone)


@pytest.mark.parametrize("iterations", [10, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_what_spark_keeps_does_not_grow_with_iterations(spark, local_dir, tmp_path, iterations):
    sc = spark.sparkContext
    seen = []

    def free_memory():
        return int(sc._jsc.sc().getExecutorMemoryStatus().head()._2()._2())

    def look(events):
        if 4 < len(events) < 2 * iterations - 4 and len(events) % 10:  # a look takes longer than a half-iteration
            return
        lineage = sc._jsc.getPersistentRDDs().values()
        depth = max(rdd.toDebugString().count("\n") for rdd in lineage)
        sc._jvm.System.gc()  # Spark's own broadcasts of task code go with the next collection
        seen.append((len(lineage), depth, len(list(local_dir.rglob("shuffle_*"))), free_memory()))

    trained_on(
        tmp_path,
        interactions(spark),
        train_settings(rank=6, max_iter=iterations, user_blocks=2, item_blocks=2),
        report=look,
    )
    assert len(seen) >= 10
    rdds, depths, files, memory = zip(*seen[2:], strict=True)
    assert len(set(rdds)) == 1
    assert len(set(depths)) == 1
    assert max(files) <= files[0]
    assert min(memory) > memory[0] - 100_000  # bytes; the factors of one side here are 1,440
    assert len(sc._jsc.getPersistentRDDs()) == 0
