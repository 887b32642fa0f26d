"""Fits of one table: each preparation of it serves all estimators that read and lay it out alike."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from threading import Lock

from pyspark.sql import DataFrame

from wals_spark.ml.model import WALSModel
from wals_spark.ml.params import WALSParams
from wals_spark.ml.settings import OF_BLOCKS, OF_INPUT, called_by_params, config_of
from wals_spark.spark.api import Model
from wals_spark.spark.preparation import PreparedInteractions, prepared_interactions
from wals_spark.spark.scratch import Scratch
from wals_spark.spark.session import session_of

_Key = tuple[object, ...]


def refuse_without_rdds(dataset: DataFrame) -> None:
    """Refuse to train where there are no RDDs.

    Raises
    ------
    NotImplementedError
        With Spark Connect, and so on Databricks' standard and serverless compute.
    """
    if not hasattr(dataset, "_jdf"):
        raise NotImplementedError(
            "WALS.fit needs RDDs, which Spark Connect has not (nor has Databricks' standard or serverless compute): "
            "train in a classic session (spark-submit, or dedicated compute), save the model, and load it here: "
            "WALSModel.load, transform and the recommend methods work with Spark Connect"
        )


class SharedPreparation:
    """A table that several estimators are fitted to, in any order and from any threads.

    A preparation begins with the first fit that needs it, and ends with the last.
    """

    def __init__(self, dataset: DataFrame, estimators: Sequence[WALSParams]) -> None:
        self._dataset = dataset
        self._estimators = estimators
        self._waiting = Counter(map(_key, estimators))
        self._prepared: dict[_Key, tuple[PreparedInteractions, ExitStack]] = {}
        self._locks: dict[_Key, Lock] = {key: Lock() for key in self._waiting}
        weakref.finalize(self, _end_all, self._prepared)  # of an iteration that nobody finished

    def fit(self, number: int) -> WALSModel:
        """Fit one of the estimators.

        Raises
        ------
        ConfigError, InputError, TrainingError
            If params contradict each other, the interactions cannot be used, or training fails.
        """
        estimator = self._estimators[number]
        config, key = config_of(estimator), _key(estimator)
        spark = self._dataset.sparkSession
        with session_of(spark), called_by_params():
            try:
                prepared = self._preparation(key, estimator)
                scratch = Scratch(spark, estimator.getWorkDir())
                model = WALSModel(Model(prepared.train(config, scratch), scratch), self._dataset)
            finally:
                self._end(key)
        model._resetUid(estimator.uid)
        return estimator._copyValues(model)

    def _preparation(self, key: _Key, estimator: WALSParams) -> PreparedInteractions:
        with self._locks[key]:
            if key not in self._prepared:
                stack = ExitStack()
                config, work_dir = config_of(estimator), estimator.getWorkDir()
                prepared = stack.enter_context(prepared_interactions(self._dataset, config, work_dir))
                self._prepared[key] = prepared, stack
            return self._prepared[key][0]

    def _end(self, key: _Key) -> None:
        with self._locks[key]:
            self._waiting[key] -= 1
            if not self._waiting[key] and key in self._prepared:
                self._prepared.pop(key)[1].close()


def _key(estimator: WALSParams) -> _Key:
    """What two estimators have alike that share a preparation."""
    of_blocks = tuple(estimator.getOrDefault(name) if estimator.isSet(name) else None for name in OF_BLOCKS)
    of_input = (estimator.getOrDefault(name) if estimator.isDefined(name) else None for name in OF_INPUT)
    return (*of_input, *of_blocks)


def _end_all(prepared: dict[_Key, tuple[PreparedInteractions, ExitStack]]) -> None:
    while prepared:
        with suppress(Exception):  # Spark may have stopped
            prepared.popitem()[1][1].close()
