"""`WALSModel`: what MLlib's ALSModel does, and what its users have asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pyspark.ml.base import Model as MLModel
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import DataFrame, SparkSession

from wals_spark.errors import ConfigError
from wals_spark.ml.params import WALSModelParams
from wals_spark.ml.persistence import WALSModelReader, WALSModelWriter, as_version
from wals_spark.ml.recommending import Asked, recommended
from wals_spark.ml.settings import called_by_params
from wals_spark.ml.summary import TrainingSummary
from wals_spark.ranking.modes import MODES
from wals_spark.settings.predict import Pairs
from wals_spark.spark.api import Model
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.lifetime import keeping
from wals_spark.spark.model.open import FactorTables
from wals_spark.spark.predict import predict
from wals_spark.spark.predict_tasks import Prediction
from wals_spark.spark.session import session_of


class WALSModel(MLModel, WALSModelParams, MLWritable, MLReadable["WALSModel"]):
    """A fitted model: factors by id, predictions, recommendations.

    Its files, unless it is saved, are in a temporary folder (``workDir``), which is deleted with the last copy of the
    model and the last table that reads from it.
    """

    __module__ = "wals_spark.ml"  # the class path is part of the format of saved models

    def __init__(self, model: Model | None = None, training: DataFrame | None = None) -> None:
        super().__init__()
        self._setDefault(userCol="user", itemCol="item", coldStartStrategy="nan")
        self._model = model
        self._training = training  # for `WALSEvaluator`, which leaves its pairs out
        self._tables: FactorTables | None = None if model is None else model._stored.tables
        self._summary: TrainingSummary | None = None if model is None else TrainingSummary.of(model)
        self._document: dict[str, Any] | None = None  # the manifest of one that was loaded
        self._sent = SentTables()

    def __repr__(self) -> str:
        rank = "" if self._tables is None else f", rank={self.rank}"
        return f"WALSModel: uid={self.uid}{rank}"

    def setUserCol(self, value: str) -> WALSModel:
        """Sets the value of :py:attr:`userCol`."""
        return self._set(userCol=value)

    def setItemCol(self, value: str) -> WALSModel:
        """Sets the value of :py:attr:`itemCol`."""
        return self._set(itemCol=value)

    def setColdStartStrategy(self, value: str) -> WALSModel:
        """Sets the value of :py:attr:`coldStartStrategy`."""
        return self._set(coldStartStrategy=value)

    def setPredictionCol(self, value: str) -> WALSModel:
        """Sets the value of :py:attr:`predictionCol`."""
        return self._set(predictionCol=value)

    def setBlockSize(self, value: int) -> WALSModel:
        """Sets the value of :py:attr:`blockSize`, which has no effect."""
        return self._set(blockSize=value)

    @property
    def rank(self) -> int:
        """The number of factors."""
        return self._factors.rank

    @property
    def userFactors(self) -> DataFrame:
        """Columns ``id``, in the type that it was trained on, and ``features``, array<float>."""
        return self._keeping(self._factors.user_factors)

    @property
    def itemFactors(self) -> DataFrame:
        """Columns ``id``, in the type that it was trained on, and ``features``, array<float>."""
        return self._keeping(self._factors.item_factors)

    @property
    def hasSummary(self) -> bool:
        """Whether there is a summary: models that MLlib has saved have none."""
        return self._summary is not None

    @property
    def summary(self) -> TrainingSummary:
        """The loss by half-iteration, why training stopped, counts and seconds.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        if self._summary is None:
            raise RuntimeError(f"No training summary available for this {type(self).__name__}")
        return self._summary

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = Pairs(user=self.getUserCol(), item=self.getItemCol())
        strategy = self.getColdStartStrategy().lower()
        prediction = Prediction(self.getPredictionCol(), is_float=True)
        with self._session_of(dataset), called_by_params():
            unknown = "drop" if strategy == "drop" else "nan"
            table = predict(self._factors, dataset, names, unknown=unknown, prediction=prediction)  # type: ignore[arg-type]
        table._wals_spark_transformed = (self, dataset)  # type: ignore[attr-defined]  # for `WALSEvaluator`
        return self._keeping(table)

    def recommendForAllUsers(self, numItems: int, *, exclude: DataFrame | None = None) -> DataFrame:
        """The best items of each user: userCol, and recommendations, an array of structs (itemCol, rating).

        ``exclude`` has pairs (userCol, itemCol) that are known, and not recommended.
        """
        return self._recommended(Asked("items", numItems, exclude=exclude))

    def recommendForAllItems(self, numUsers: int, *, exclude: DataFrame | None = None) -> DataFrame:
        """The best users of each item: itemCol, and recommendations, an array of structs (userCol, rating)."""
        return self._recommended(Asked("users", numUsers, exclude=exclude))

    def recommendForUserSubset(
        self, dataset: DataFrame, numItems: int, *, exclude: DataFrame | None = None
    ) -> DataFrame:
        """As `recommendForAllUsers`, for the users in the column userCol of a table; unknown ones are left out."""
        return self._recommended(Asked("items", numItems, dataset, exclude))

    def recommendForItemSubset(
        self, dataset: DataFrame, numUsers: int, *, exclude: DataFrame | None = None
    ) -> DataFrame:
        """As `recommendForAllItems`, for the items in the column itemCol of a table; unknown ones are left out."""
        return self._recommended(Asked("users", numUsers, dataset, exclude))

    def similarItems(self, numItems: int, dataset: DataFrame | None = None) -> DataFrame:
        """The most similar items of each, or of those in a table: itemCol, and similar, an array (itemCol, cosine)."""
        return self._recommended(Asked("similar-items", numItems, dataset))

    def similarUsers(self, numUsers: int, dataset: DataFrame | None = None) -> DataFrame:
        """The most similar users of each, or of those in a table: userCol, and similar, an array (userCol, cosine)."""
        return self._recommended(Asked("similar-users", numUsers, dataset))

    def foldIn(self, dataset: DataFrame, *, keepUsers: bool = False) -> WALSModel:
        """Solve the users of new interactions against the items of this model, as training would; a model with both.

        With ``keepUsers``, users without new interactions keep their rows.

        Raises
        ------
        ConfigError, InputError
            If the interactions cannot be used, or the model is one that MLlib saved, which does not say how.
        """
        with called_by_params():
            model = WALSModel(as_version(self).fold_in(dataset, keep_users=keepUsers), dataset)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def saveVersion(self, root: str, version: str = "", *, serve: bool = True) -> WALSModel:
        """Save the model as a version below a root, as ``jobs/train.py`` does; with ``serve`` it is the served one."""
        with called_by_params():
            return self._copyValues(WALSModel(as_version(self).publish(root, version=version, serve=serve)))

    @classmethod
    def fromVersion(cls, root: str, version: str = "") -> WALSModel:
        """A version that ``saveVersion`` or a job has written; none named: the served one."""
        spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
        model = Model.open(spark, root, version)
        source = model.config.input
        return cls(model)._set(userCol=source.user, itemCol=source.item)

    def toMLlib(self) -> Any:
        """The same factors as a ``pyspark.ml.recommendation.ALSModel``, whose ids have 32 bits.

        Raises
        ------
        ConfigError
            If ids are strings, or a score is not the product of two rows alone.
        """
        from wals_spark.ml.java_model import java_model

        return java_model(self)

    def write(self) -> WALSModelWriter:
        """What saves the model: ``write().overwrite().save(path)``."""
        return WALSModelWriter(self)

    @classmethod
    def read(cls) -> WALSModelReader:
        """What loads a model, also one that MLlib's ALSModel has saved."""
        return WALSModelReader()

    @property
    def _factors(self) -> FactorTables:
        if self._tables is None:
            raise ConfigError("this WALSModel() has no factors: fit, load or fromVersion make one that has")
        return self._tables

    def _recommended(self, asked: Asked) -> DataFrame:
        columns = {"user": self.getUserCol(), "item": self.getItemCol()}
        assert asked.mode in MODES
        with called_by_params():
            return self._keeping(recommended(self._factors, asked, columns, self._sent))

    def _session_of(self, dataset: DataFrame) -> AbstractContextManager[object]:
        """What a classic session lends; Spark Connect needs nothing."""
        return session_of(dataset.sparkSession) if hasattr(dataset, "_jdf") else nullcontext()

    def _keeping(self, table: DataFrame) -> DataFrame:
        """The table, which reads from what this model owns, and may outlive it."""
        return keeping(table, self._model, self._sent)
