"""The params of `WALS`: those of MLlib's ALS, with its names, defaults and limits, and ours after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.recommendation import _ALSModelParams, _ALSParams

_STORAGE_LEVELS = (
    "NONE", "DISK_ONLY", "DISK_ONLY_2", "DISK_ONLY_3", "MEMORY_ONLY", "MEMORY_ONLY_2", "MEMORY_ONLY_SER",
    "MEMORY_ONLY_SER_2", "MEMORY_AND_DISK", "MEMORY_AND_DISK_2", "MEMORY_AND_DISK_SER", "MEMORY_AND_DISK_SER_2",
    "OFF_HEAP",
)  # fmt: skip
Self = TypeVar("Self", bound="_Limited")


class _Limit(NamedTuple):
    """What a param may be, for messages, and whether a value is that."""

    allowed: str
    holds: Callable[[Any], bool]


def _at_least(minimum: float) -> _Limit:
    return _Limit(f"at least {minimum:g}", lambda value: value >= minimum)


def _one_of(*values: str) -> _Limit:
    return _Limit(f"one of {', '.join(values)}", lambda value: value in values)


_LIMITS = {
    "rank": _at_least(1),
    "maxIter": _at_least(0),
    "regParam": _at_least(0),
    "numUserBlocks": _at_least(1),
    "numItemBlocks": _at_least(1),
    "alpha": _at_least(0),
    "blockSize": _at_least(1),
    "checkpointInterval": _Limit("at least 1, or -1", lambda value: value == -1 or value >= 1),
    "coldStartStrategy": _Limit("nan or drop", lambda value: value.lower() in ("nan", "drop")),
    "intermediateStorageLevel": _Limit("a storage level other than NONE", lambda v: v in _STORAGE_LEVELS[1:]),
    "finalStorageLevel": _one_of(*_STORAGE_LEVELS),
    "duplicates": _one_of("keep", "sum", "mean", "max", "refuse"),
    "badRows": _one_of("refuse", "drop"),
    "tol": _Limit("at least 0 and below 1", lambda value: 0 <= value < 1),
    "solver": _one_of("exact", "cg", "cholesky"),
    "relaxation": _Limit("at least 1 and below 2", lambda value: 1 <= value < 2),
    "unobservedWeight": _at_least(0),
}


class _Limited(Params):
    """Refuses a value when it is set, and not when training begins."""

    def _set(self: Self, **kwargs: Any) -> Self:
        super()._set(**kwargs)
        for name, value in kwargs.items():
            self._check(name, getattr(self, name), value)
        return self

    def set(self, param: Param[Any], value: Any) -> None:
        """Set a param, as MLlib does.

        Raises
        ------
        TypeError, ValueError
            If the value is of another type, or beyond the limits of the param.
        """
        super().set(param, value)
        self._check(param.name, param, value)

    def _check(self, name: str, param: Param[Any], value: Any) -> None:
        limit = _LIMITS.get(name)
        if value is not None and limit is not None and not limit.holds(self._paramMap[param]):
            self.clear(param)
            raise ValueError(f"{name} = {value!r}: it has to be {limit.allowed}")


class WALSModelParams(_Limited, _ALSModelParams):
    """The params of a model, which are MLlib's."""


class WALSParams(WALSModelParams, _ALSParams):
    """The params of the estimator: MLlib's, and then those that MLlib has not."""

    weightCol: Param[str] = Param(
        Params._dummy(),
        "weightCol",
        "column of weights >= 0, which multiply the confidence of a row above that of an unobserved pair (implicit), "
        "or its squared error (explicit); none: 1",
        TypeConverters.toString,
    )
    duplicates: Param[str] = Param(
        Params._dummy(),
        "duplicates",
        "what several rows of one user and item are: observations of their own, as in MLlib (keep), or one with the "
        "sum, mean or max of their ratings; refuse: an error",
        TypeConverters.toString,
    )
    badRows: Param[str] = Param(
        Params._dummy(),
        "badRows",
        "rows with a null id or an unusable rating: an error that names some (refuse), or left out and counted (drop)",
        TypeConverters.toString,
    )
    tol: Param[float] = Param(
        Params._dummy(),
        "tol",
        "stop when an iteration lowers the loss by less than this share of it; 0: never",
        TypeConverters.toFloat,
    )
    solver: Param[str] = Param(
        Params._dummy(),
        "solver",
        "how rows are solved: to a relative error of 1e-5 (exact), by three conjugate gradient steps, which is faster "
        "at high ranks (cg), or in float64 (cholesky)",
        TypeConverters.toString,
    )
    relaxation: Param[float] = Param(
        Params._dummy(),
        "relaxation",
        "over-relaxation: 1.5 about halves the number of iterations; 1: plain alternating least squares, as MLlib",
        TypeConverters.toFloat,
    )
    unobservedWeight: Param[float] = Param(
        Params._dummy(),
        "unobservedWeight",
        "weight of every unobserved pair (implicit)",
        TypeConverters.toFloat,
    )
    preset: Param[str] = Param(
        Params._dummy(),
        "preset",
        "the objective and the defaults of another system, such as rendle, hkv or implicit; params that are set win",
        TypeConverters.toString,
    )
    workDir: Param[str] = Param(
        Params._dummy(),
        "workDir",
        "folder or URL that the driver and all executors can write to, for the files of a model that is not saved; "
        "none: chosen by itself",
        TypeConverters.toString,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(
            seed=0,
            duplicates="keep",
            badRows="refuse",
            tol=0.0,
            solver="exact",
            relaxation=1.0,
            unobservedWeight=1.0,
            preset="",
            workDir="",
        )

    def getWeightCol(self) -> str:
        """Gets the value of weightCol or its default value."""
        return self.getOrDefault(self.weightCol)

    def getDuplicates(self) -> str:
        """Gets the value of duplicates or its default value."""
        return self.getOrDefault(self.duplicates)

    def getBadRows(self) -> str:
        """Gets the value of badRows or its default value."""
        return self.getOrDefault(self.badRows)

    def getTol(self) -> float:
        """Gets the value of tol or its default value."""
        return self.getOrDefault(self.tol)

    def getSolver(self) -> str:
        """Gets the value of solver or its default value."""
        return self.getOrDefault(self.solver)

    def getRelaxation(self) -> float:
        """Gets the value of relaxation or its default value."""
        return self.getOrDefault(self.relaxation)

    def getUnobservedWeight(self) -> float:
        """Gets the value of unobservedWeight or its default value."""
        return self.getOrDefault(self.unobservedWeight)

    def getPreset(self) -> str:
        """Gets the value of preset or its default value."""
        return self.getOrDefault(self.preset)

    def getWorkDir(self) -> str:
        """Gets the value of workDir or its default value."""
        return self.getOrDefault(self.workDir)
