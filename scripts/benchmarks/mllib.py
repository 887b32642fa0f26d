"""MLlib in the benchmark: pyspark.ml.recommendation.ALS."""

from __future__ import annotations

import time

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.loss import ALPHA, REG_PARAM, Outcome, read_factors
from benchmarks.processes import n_cores
from benchmarks.workload import FOLDER, MLLIB_BLOCKS_PER_CORE, Workload
from wals_spark.spark.session import open_session

_TRIAL_ITERATIONS = 2
_FACTORS = FOLDER / "mllib"


def train_mllib(workload: Workload) -> Outcome:
    """Train with the best of three numbers of blocks.

    ALS does not report its iterations, so the time of one is the difference of two trainings.
    """
    with open_session("bench", local_master=f"local[{n_cores()}]") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        rating = F.log1p("rating").cast("float").alias("rating")
        columns = F.col("user").cast("int"), F.col("item").cast("int"), rating
        table = spark.read.parquet(str(workload.path)).select(*columns)
        _fit(table, workload.rank, n_cores(), max_iter=1)  # a warm-up
        trials = {
            n_blocks: _fit(table, workload.rank, n_blocks, max_iter=_TRIAL_ITERATIONS)[0]
            for n_blocks in (per_core * n_cores() for per_core in MLLIB_BLOCKS_PER_CORE)
        }
        best = min(trials, key=lambda n_blocks: trials[n_blocks])
        seconds, model = _fit(table, workload.rank, best, max_iter=workload.iterations)
        for name, factors in (("users", model.userFactors), ("items", model.itemFactors)):
            factors.write.mode("overwrite").parquet(str(_FACTORS / name))
    per_iteration = (seconds - trials[best]) / (workload.iterations - _TRIAL_ITERATIONS)
    record = {
        "prepare_seconds": max(0.0, seconds - workload.iterations * per_iteration),
        "seconds_per_iteration": per_iteration,
        "seconds": seconds,
        "blocks": best,
    }
    return Outcome(record, read_factors(_FACTORS / "users"), read_factors(_FACTORS / "items"))


def _fit(table: DataFrame, rank: int, n_blocks: int, *, max_iter: int) -> tuple[float, ALSModel]:
    """Train; the seconds until all user factors are computed, and the model."""
    began = time.perf_counter()
    als = ALS(rank=rank, maxIter=max_iter, regParam=REG_PARAM, implicitPrefs=True, alpha=ALPHA, seed=0,
              numUserBlocks=n_blocks, numItemBlocks=n_blocks)  # fmt: skip
    model = als.fit(table)
    model.userFactors.count()
    return time.perf_counter() - began, model
