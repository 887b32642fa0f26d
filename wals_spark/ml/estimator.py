"""`WALS`, the estimator: MLlib's ALS with this package behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyspark import keyword_only
from pyspark.ml.base import Estimator, _FitMultipleIterator
from pyspark.ml.param import Param
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame

from wals_spark.ml.fitting import SharedPreparation, refuse_without_rdds
from wals_spark.ml.model import WALSModel
from wals_spark.ml.params import WALSParams
from wals_spark.ml.settings import config_of

ParamMap = dict[Param[Any], Any]


class WALS(Estimator[WALSModel], WALSParams, DefaultParamsWritable, DefaultParamsReadable["WALS"]):
    """Alternating least squares for implicit and explicit feedback, with the params of ``pyspark.ml``'s ALS.

    The objective is MLlib's: for explicit ratings (Zhou et al. 2008, ALS-WR) ``Σ (r − x·y)² + regParam (Σ n_u |x_u|² +
    Σ n_i |y_i|²)``; with ``implicitPrefs`` (Hu, Koren and Volinsky 2008, eq. 3) ``Σ c (p − x·y)²`` over all pairs,
    c = 1 + alpha |r|, p = 1 for r > 0 and else 0, with the same penalty. Ids are integers of up to 64 bits, strings, or
    whole numbers of other types. Accepted for MLlib's sake and without effect: ``checkpointInterval``, ``blockSize``,
    ``intermediateStorageLevel`` and ``finalStorageLevel``: state is in files, and products choose their own blocks.

    Examples
    --------
    >>> model = WALS(rank=2, maxIter=5).fit(ratings)  # doctest: +SKIP
    >>> model.recommendForAllUsers(10, exclude=ratings)  # doctest: +SKIP
    """

    __module__ = "wals_spark.ml"  # the class path is part of the format of saved pipelines

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        rank: int = 10,
        maxIter: int = 10,
        regParam: float = 0.1,
        numUserBlocks: int = 10,
        numItemBlocks: int = 10,
        implicitPrefs: bool = False,
        alpha: float = 1.0,
        userCol: str = "user",
        itemCol: str = "item",
        seed: int | None = None,
        ratingCol: str = "rating",
        nonnegative: bool = False,
        checkpointInterval: int = 10,
        intermediateStorageLevel: str = "MEMORY_AND_DISK",
        finalStorageLevel: str = "MEMORY_AND_DISK",
        coldStartStrategy: str = "nan",
        blockSize: int = 4096,
        weightCol: str | None = None,
        duplicates: str = "keep",
        badRows: str = "refuse",
        tol: float = 0.0,
        solver: str = "exact",
        relaxation: float = 1.0,
        unobservedWeight: float = 1.0,
        preset: str = "",
        workDir: str = "",
        predictionCol: str = "prediction",
    ) -> None:
        super().__init__()
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(
        self,
        *,
        rank: int = 10,
        maxIter: int = 10,
        regParam: float = 0.1,
        numUserBlocks: int = 10,
        numItemBlocks: int = 10,
        implicitPrefs: bool = False,
        alpha: float = 1.0,
        userCol: str = "user",
        itemCol: str = "item",
        seed: int | None = None,
        ratingCol: str = "rating",
        nonnegative: bool = False,
        checkpointInterval: int = 10,
        intermediateStorageLevel: str = "MEMORY_AND_DISK",
        finalStorageLevel: str = "MEMORY_AND_DISK",
        coldStartStrategy: str = "nan",
        blockSize: int = 4096,
        weightCol: str | None = None,
        duplicates: str = "keep",
        badRows: str = "refuse",
        tol: float = 0.0,
        solver: str = "exact",
        relaxation: float = 1.0,
        unobservedWeight: float = 1.0,
        preset: str = "",
        workDir: str = "",
        predictionCol: str = "prediction",
    ) -> WALS:
        """Set params for WALS."""
        return self._set(**{name: value for name, value in self._input_kwargs.items() if value is not None})

    def _fit(self, dataset: DataFrame) -> WALSModel:
        refuse_without_rdds(dataset)
        return SharedPreparation(dataset, [self]).fit(0)

    def fitMultiple(self, dataset: DataFrame, paramMaps: Sequence[ParamMap]) -> Iterator[tuple[int, WALSModel]]:
        """Fit a model for each param map; maps that read and lay out the data alike share one preparation of it.

        Raises
        ------
        TypeError, ValueError
            If a param map cannot be used: before anything is computed.
        """
        refuse_without_rdds(dataset)
        estimators = [self.copy(dict(params)) for params in paramMaps]
        for estimator in estimators:
            config_of(estimator)
        return _FitMultipleIterator(SharedPreparation(dataset, estimators).fit, len(estimators))

    def setRank(self, value: int) -> WALS:
        """Sets the value of :py:attr:`rank`."""
        return self._set(rank=value)

    def setMaxIter(self, value: int) -> WALS:
        """Sets the value of :py:attr:`maxIter`."""
        return self._set(maxIter=value)

    def setRegParam(self, value: float) -> WALS:
        """Sets the value of :py:attr:`regParam`."""
        return self._set(regParam=value)

    def setNumUserBlocks(self, value: int) -> WALS:
        """Sets the value of :py:attr:`numUserBlocks`."""
        return self._set(numUserBlocks=value)

    def setNumItemBlocks(self, value: int) -> WALS:
        """Sets the value of :py:attr:`numItemBlocks`."""
        return self._set(numItemBlocks=value)

    def setNumBlocks(self, value: int) -> WALS:
        """Sets both :py:attr:`numUserBlocks` and :py:attr:`numItemBlocks` to the specific value."""
        return self._set(numUserBlocks=value, numItemBlocks=value)

    def setImplicitPrefs(self, value: bool) -> WALS:
        """Sets the value of :py:attr:`implicitPrefs`."""
        return self._set(implicitPrefs=value)

    def setAlpha(self, value: float) -> WALS:
        """Sets the value of :py:attr:`alpha`."""
        return self._set(alpha=value)

    def setUserCol(self, value: str) -> WALS:
        """Sets the value of :py:attr:`userCol`."""
        return self._set(userCol=value)

    def setItemCol(self, value: str) -> WALS:
        """Sets the value of :py:attr:`itemCol`."""
        return self._set(itemCol=value)

    def setRatingCol(self, value: str) -> WALS:
        """Sets the value of :py:attr:`ratingCol`."""
        return self._set(ratingCol=value)

    def setPredictionCol(self, value: str) -> WALS:
        """Sets the value of :py:attr:`predictionCol`."""
        return self._set(predictionCol=value)

    def setNonnegative(self, value: bool) -> WALS:
        """Sets the value of :py:attr:`nonnegative`."""
        return self._set(nonnegative=value)

    def setColdStartStrategy(self, value: str) -> WALS:
        """Sets the value of :py:attr:`coldStartStrategy`."""
        return self._set(coldStartStrategy=value)

    def setSeed(self, value: int) -> WALS:
        """Sets the value of :py:attr:`seed`."""
        return self._set(seed=value)

    def setCheckpointInterval(self, value: int) -> WALS:
        """Sets the value of :py:attr:`checkpointInterval`, which has no effect."""
        return self._set(checkpointInterval=value)

    def setBlockSize(self, value: int) -> WALS:
        """Sets the value of :py:attr:`blockSize`, which has no effect."""
        return self._set(blockSize=value)

    def setIntermediateStorageLevel(self, value: str) -> WALS:
        """Sets the value of :py:attr:`intermediateStorageLevel`, which has no effect."""
        return self._set(intermediateStorageLevel=value)

    def setFinalStorageLevel(self, value: str) -> WALS:
        """Sets the value of :py:attr:`finalStorageLevel`, which has no effect."""
        return self._set(finalStorageLevel=value)

    def setWeightCol(self, value: str) -> WALS:
        """Sets the value of :py:attr:`weightCol`."""
        return self._set(weightCol=value)

    def setDuplicates(self, value: str) -> WALS:
        """Sets the value of :py:attr:`duplicates`."""
        return self._set(duplicates=value)

    def setBadRows(self, value: str) -> WALS:
        """Sets the value of :py:attr:`badRows`."""
        return self._set(badRows=value)

    def setTol(self, value: float) -> WALS:
        """Sets the value of :py:attr:`tol`."""
        return self._set(tol=value)

    def setSolver(self, value: str) -> WALS:
        """Sets the value of :py:attr:`solver`."""
        return self._set(solver=value)

    def setRelaxation(self, value: float) -> WALS:
        """Sets the value of :py:attr:`relaxation`."""
        return self._set(relaxation=value)

    def setUnobservedWeight(self, value: float) -> WALS:
        """Sets the value of :py:attr:`unobservedWeight`."""
        return self._set(unobservedWeight=value)

    def setPreset(self, value: str) -> WALS:
        """Sets the value of :py:attr:`preset`."""
        return self._set(preset=value)

    def setWorkDir(self, value: str) -> WALS:
        """Sets the value of :py:attr:`workDir`."""
        return self._set(workDir=value)
