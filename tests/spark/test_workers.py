"""The Python workers that Spark keeps: how many there are, and what is in them."""

from __future__ import annotations

import pytest
from evaluations import make_measures, make_protocol

from wals_spark.settings.recommend import Recommend
from wals_spark.settings.train import Config
from wals_spark.spark.checking import check
from wals_spark.spark.evaluate import evaluate
from wals_spark.spark.held_out import gathered
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.recommend import Request, recommend
from wals_spark.spark.storage import Storage
from wals_spark.spark.train import train_version


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


@pytest.mark.slow
def test_no_worker_imports_pandas(spark, tmp_path):
    """Not after training, publishing, recommending with explanations, and evaluating."""
    raw = spark.range(2000).selectExpr("id % 50 user", "string(id % 37) item", "1d + id % 3 rating")
    config = Config.of({"train.rank": 4, "train.max_iter": 3, "confidence.item_weight": "power"})
    model = train_version(raw, config, Storage(spark, str(tmp_path)))
    pairs = check(raw, config.input).table
    request = Request(Recommend(k=3, because=2), interactions=pairs.where("item != '3'"))
    sent = SentTables()
    assert recommend(model, request, sent).count() > 0
    with gathered(pairs.where("item = '3'"), n_partitions=2) as held_out:
        protocol = make_protocol(make_measures(("recall",), (3,)), replicates=2)
        assert evaluate(held_out, model.user_factors, model.item_factors, width=4, protocol=protocol).metrics

    workers = of_rdds(spark)
    assert workers
    assert not any(workers.values())
