"""Trains on made-up users and prints, as JSON, the most memory that the driver held: Python's and the JVM's."""

from __future__ import annotations

import json
import resource
import sys

from wals_spark.settings.train import Config
from wals_spark.spark.model.publish import write_factors
from wals_spark.spark.session import open_session
from wals_spark.spark.training.build import build_blocks
from wals_spark.spark.training.loop import train


def main(n_users: int, work: str) -> None:
    """Two items a user, rank 8, two iterations; the JVM is looked at after a collection, at every half-iteration."""
    with open_session("driver memory") as spark:
        jvm = spark.sparkContext._jvm
        heap: list[int] = []

        def look(_: object = None) -> None:
            jvm.System.gc()
            runtime = jvm.Runtime.getRuntime()
            heap.append(runtime.totalMemory() - runtime.freeMemory())

        ratings = spark.range(2 * n_users).selectExpr(
            f"concat('user ', id % {n_users}) user", "pmod(hash(id), 500) item", "1d rating"
        )
        blocks = build_blocks(
            spark, ratings, rows=2 * n_users, duplicates="sum", work=f"{work}/blocks", user_blocks=4, item_blocks=4
        )
        look()
        config = Config.of({"train.rank": 8, "train.max_iter": 2})
        objectives = config.objectives(users=blocks.users.rows, items=blocks.items.rows)
        trained = train(spark.sparkContext, blocks.users, blocks.items, config.train, objectives, look)
        write_factors(spark, blocks.users, trained.user_factors, f"{work}/user_factors")
        look()
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"users": blocks.users.rows, "python_mib": peak_kib / 1024, "jvm_mib": max(heap) / 2**20}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
