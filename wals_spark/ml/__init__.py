"""MLlib's face: `WALS` and `WALSModel` where `pyspark.ml.recommendation.ALS` and `ALSModel` were."""

from __future__ import annotations

from wals_spark.ml.estimator import WALS
from wals_spark.ml.evaluator import WALSEvaluator
from wals_spark.ml.model import WALSModel

ALS = WALS
"""The name that MLlib's users know."""

ALSModel = WALSModel
"""The name that MLlib's users know."""

__all__ = ["ALS", "WALS", "ALSModel", "WALSEvaluator", "WALSModel"]
