"""Weighted alternating least squares on Apache Spark: fit on a DataFrame, recommend, evaluate, fold in, publish.

Nothing here imports PySpark before it is used: `FoldIn`, the settings and the Spark-free loop in `local` need none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wals_spark.errors import ConfigError, InputError, TrainingError, WalsError
    from wals_spark.evaluation.results import Evaluation
    from wals_spark.serving.fold_in import FoldIn
    from wals_spark.settings.train import Config
    from wals_spark.spark.api import Model, fit
    from wals_spark.spark.session import open_session

__all__ = [
    "Config",
    "ConfigError",
    "Evaluation",
    "FoldIn",
    "InputError",
    "Model",
    "TrainingError",
    "WalsError",
    "fit",
    "open_session",
]

_MODULES = {
    "Config": "wals_spark.settings.train",
    "ConfigError": "wals_spark.errors",
    "Evaluation": "wals_spark.evaluation.results",
    "FoldIn": "wals_spark.serving.fold_in",
    "InputError": "wals_spark.errors",
    "Model": "wals_spark.spark.api",
    "TrainingError": "wals_spark.errors",
    "WalsError": "wals_spark.errors",
    "fit": "wals_spark.spark.api",
    "open_session": "wals_spark.spark.session",
}


def __getattr__(name: str) -> Any:
    """Import what is exported when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
