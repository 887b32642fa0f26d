"""An evaluator that chooses implicit models by the ranks of held-out items, as RMSE cannot."""

from __future__ import annotations

from typing import Any

from pyspark import keyword_only
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame

from wals_spark.ml.persistence import as_version
from wals_spark.ml.settings import called_by_params

_METRICS = {
    "ndcg": "ndcg", "recall": "recall", "precision": "precision", "map": "map",
    # as pyspark.ml.evaluation.RankingEvaluator calls them
    "ndcgAtK": "ndcg", "recallAtK": "recall", "precisionAtK": "precision", "meanAveragePrecisionAtK": "map",
}  # fmt: skip


class WALSEvaluator(Evaluator, DefaultParamsWritable, DefaultParamsReadable["WALSEvaluator"]):
    """A ranking metric of `WALSModel.transform`'s output, for CrossValidator and TrainValidationSplit.

    The rows are the held-out interactions of their users. Each user's items are ranked among all items of the model but
    those that the user has in training, which the model is known by. The mean is over users with an item of the model.
    """

    __module__ = "wals_spark.ml"

    metricName: Param[str] = Param(
        Params._dummy(),
        "metricName",
        f"metric of the ranks of held-out items: {', '.join(_METRICS)}",
        TypeConverters.toString,
    )
    k: Param[int] = Param(Params._dummy(), "k", "length of the lists that are evaluated", TypeConverters.toInt)

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(self, *, metricName: str = "ndcg", k: int = 10) -> None:
        super().__init__()
        self._setDefault(metricName="ndcg", k=10)
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(self, *, metricName: str = "ndcg", k: int = 10) -> WALSEvaluator:
        """Set params for the evaluator.

        Raises
        ------
        ValueError
            If there is no such metric, or k is below 1.
        """
        values = self._input_kwargs
        if values.get("metricName", "ndcg") not in _METRICS:
            raise ValueError(f"metricName = {values['metricName']!r}: it has to be one of {', '.join(_METRICS)}")
        if values.get("k", 1) < 1:
            raise ValueError(f"k = {values['k']}: it has to be at least 1")
        return self._set(**values)

    def setMetricName(self, value: str) -> WALSEvaluator:
        """Sets the value of :py:attr:`metricName`."""
        return self.setParams(metricName=value)

    def setK(self, value: int) -> WALSEvaluator:
        """Sets the value of :py:attr:`k`."""
        return self.setParams(k=value)

    def getMetricName(self) -> str:
        """Gets the value of metricName or its default value."""
        return self.getOrDefault(self.metricName)

    def getK(self) -> int:
        """Gets the value of k or its default value."""
        return self.getOrDefault(self.k)

    def isLargerBetter(self) -> bool:
        """All of the metrics are."""
        return True

    def _evaluate(self, dataset: DataFrame) -> float:
        transformed = getattr(dataset, "_wals_spark_transformed", None)
        if transformed is None:
            raise ValueError(
                "WALSEvaluator needs the table that WALSModel.transform has returned, as it is: it ranks with that "
                "model, among all items, and leaves out the pairs that the model was trained on"
            )
        model, held_out = transformed
        metric = _METRICS[self.getMetricName()]
        options = {"k": [self.getK()], "metrics": [metric], "bootstrap": 0}
        with called_by_params():
            evaluation = as_version(model).evaluate(held_out, model._training, options=options)
        return evaluation.value(f"{metric}@{self.getK()}")
