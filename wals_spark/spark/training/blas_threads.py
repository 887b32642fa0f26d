"""A warning of tasks whose BLAS takes more cores than they have, once per application."""

from __future__ import annotations

import logging
import weakref

from pyspark import SparkContext

logger = logging.getLogger("wals_spark")

_warned: weakref.WeakSet[SparkContext] = weakref.WeakSet()


def warn_of_blas_threads(sc: SparkContext, n_threads: int) -> None:
    """Warn if a task's BLAS runs more threads than the task has cores."""
    cores = int(sc.getConf().get("spark.task.cpus", "1") or 1)
    if n_threads <= cores or sc in _warned:
        return
    _warned.add(sc)
    logger.warning(
        "NumPy's BLAS runs %d threads in a task that has %d core(s), so tasks compete for cores. Set "
        "OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS) to %d in the driver's environment, or "
        "spark.executorEnv.OPENBLAS_NUM_THREADS before Spark starts",
        n_threads, cores, cores,
    )  # fmt: skip
