"""The Python workers that Spark keeps: how many there are, and what is in them."""

from __future__ import annotations

from evaluations import make_measures, make_protocol

from wals_spark.ranking.modes import MODES
from wals_spark.settings.train import load_config
from wals_spark.spark.checking import check
from wals_spark.spark.evaluate import evaluate
from wals_spark.spark.held_out import gathered
from wals_spark.spark.item_table import item_table
from wals_spark.spark.model.publish import write_factors, write_item_weights
from wals_spark.spark.recommend import RankTask, explanation_task, recommend
from wals_spark.spark.training.build import build_blocks
from wals_spark.spark.training.loop import train


def of_rdds(spark):
    """The workers that run the tasks of RDDs, and of each whether it has imported pandas."""

    def ask(rows):
        import os
        import sys

        list(rows)
        yield os.getpid(), "pandas" in sys.modules

    return dict(spark.sparkContext.parallelize(range(20), 20).mapPartitions(ask).collect())


def of_tables(spark):
    """The workers that run the tasks of DataFrames."""

    def ask(batches):
        import os

        import numpy as np
        import pyarrow as pa

        from wals_spark.arrays.arrow import as_arrow

        list(batches)
        yield pa.record_batch([as_arrow(np.array([os.getpid()]))], names=["process"])

    return {row["process"] for row in spark.range(20, numPartitions=20).mapInArrow(ask, "process long").collect()}


def test_the_same_workers_serve_rdds_and_data_frames(spark):
    assert of_tables(spark) & set(of_rdds(spark))  # a worker that is not back in time has a new one beside it


def test_no_worker_has_pandas_after_training_publishing_recommending_and_judging(spark, tmp_path):
    raw = spark.range(2000).selectExpr("id % 50 user", "string(id % 37) item", "1d + id % 3 rating")
    options = ["train.rank=4", "train.max_iter=3", "confidence.item_weight=power"]
    config = load_config(None, ["input.path=-", "output.path=-", *options])
    checked = check(raw, config.input)
    blocks = build_blocks(spark, checked.table, rows=2000, duplicates="sum", work=str(tmp_path / "work"))
    objectives = config.objectives(users=50, items=37, largest_item_count=blocks.largest_item_count)
    trained = train(spark.sparkContext, blocks.users, blocks.items, config.train, objectives, lambda events: None)
    for side, factors in ((blocks.users, trained.user_factors), (blocks.items, trained.item_factors)):
        gramian = write_factors(spark, side, factors, str(tmp_path / side.name))
    write_item_weights(spark, blocks.items, objectives["items"], str(tmp_path / "weights"))
    users, items, weights = (spark.read.parquet(str(tmp_path / name)) for name in ("users", "items", "weights"))

    reasons = explanation_task(items, weights, n=2, objective=objectives["users"], gramian=gramian, duplicates="sum")
    task = RankTask(item_table(items, width=4), 3, MODES["items"], reasons=reasons)
    assert recommend(users, task, n_queries=50, pairs=checked.table.where("item != '3'")).count() > 0
    with gathered(checked.table.where("item = '3'"), n_partitions=2) as held_out:
        protocol = make_protocol(make_measures(("recall",), (3,)), replicates=2)
        assert evaluate(held_out, users, items, width=4, protocol=protocol).metrics

    workers = of_rdds(spark)
    assert workers
    assert not any(workers.values())
