"""Trains on synthetic users and prints, as JSON, the peak memory of the driver: of its Python and of its JVM."""

from __future__ import annotations

import json
import resource
import sys

import wals_spark
from wals_spark.spark.model.factor_tables import write_factors
from wals_spark.spark.prepared import prepare
from wals_spark.spark.training.recovery import train
from wals_spark.spark.training.state import Listeners


def main(n_users: int, work: str) -> None:
    """Train on two items per user, rank 8, two iterations; the JVM is measured after each half-iteration."""
    with wals_spark.open_session("driver memory") as spark:
        jvm = spark.sparkContext._jvm
        heap: list[int] = []

        def measure(_: object = None) -> None:
            jvm.System.gc()
            runtime = jvm.Runtime.getRuntime()
            heap.append(runtime.totalMemory() - runtime.freeMemory())

        interactions = spark.range(2 * n_users).selectExpr(
            f"concat('user ', id % {n_users}) user", "pmod(hash(id), 500) item", "1d rating"
        )
        settings = {"train.rank": 8, "train.max_iter": 2, "train.user_blocks": 4, "train.item_blocks": 4}
        config = wals_spark.Config.of(settings)
        prepared = prepare(interactions, config, f"{work}/blocks")
        measure()
        listeners = Listeners(on_half_iteration=measure)
        chosen = prepared.resolved(config)
        trained = train(prepared.blocks, prepared.objectives(chosen), chosen.train, listeners)
        users = prepared.blocks.users
        write_factors(users, trained.user_factors, f"{work}/user_factors")
        measure()
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"users": users.rows, "python_mib": peak_kib / 1024, "jvm_mib": max(heap) / 2**20}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
