"""What the params say in the settings of a training, and what the settings in messages are called as params."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wals_spark.errors import ConfigError, InputError
from wals_spark.ml.params import WALSParams
from wals_spark.objective.presets import PRESETS
from wals_spark.settings.train import Config

_SETTINGS = {
    "userCol": "input.user",
    "itemCol": "input.item",
    "ratingCol": "input.rating",
    "weightCol": "input.weight",
    "duplicates": "input.duplicates",
    "badRows": "input.bad_rows",
    "preset": "train.preset",
    "implicitPrefs": "train.implicit",
    "rank": "train.rank",
    "maxIter": "train.max_iter",
    "regParam": "train.reg_param",
    "nonnegative": "train.nonnegative",
    "seed": "train.seed",
    "tol": "train.tol",
    "solver": "train.solver",
    "relaxation": "train.relaxation",
    "unobservedWeight": "train.unobserved_weight",
    "numUserBlocks": "train.user_blocks",
    "numItemBlocks": "train.item_blocks",
    "alpha": "confidence.alpha",
}
_PARAMS = {setting: param for param, setting in _SETTINGS.items()}

OF_INPUT = ("userCol", "itemCol", "ratingCol", "weightCol", "duplicates", "badRows", "implicitPrefs", "preset")
"""The params that say how interactions are read: trainings that have them alike share their blocks."""

OF_BLOCKS = ("numUserBlocks", "numItemBlocks")
"""The params that say how interactions are laid out."""

_ONLY_IMPLICIT = ("alpha", "unobservedWeight")


def config_of(params: WALSParams) -> Config:
    """The settings of a training with these params.

    Raises
    ------
    ValueError
        If params contradict each other.
    """
    if not params.getMaxIter():
        raise ValueError("maxIter = 0: MLlib returns its random start then, which predicts nothing; set at least 1")
    explicit = not params.getImplicitPrefs()
    names = [name for name in _SETTINGS if name not in ("preset", "implicitPrefs") and params.isDefined(name)]
    if params.getPreset():  # whose defaults win over MLlib's
        names = [name for name in names if params.isSet(name) or name in OF_INPUT]
    elif explicit:
        _refuse_without_meaning(params)
        names = [name for name in names if name not in _ONLY_IMPLICIT]
    names = [name for name in names if name not in OF_BLOCKS or params.isSet(name)]
    values: dict[str, Any] = {_SETTINGS[name]: params.getOrDefault(name) for name in names}
    values["train.preset"] = params.getPreset() or ("mllib-explicit" if explicit else "mllib")
    of_preset = PRESETS.get(values["train.preset"], {}).get("train", {})
    if of_preset.get("implicit", True) and of_preset.get("target") != "rating":
        values["input.nonpositive"] = "mllib"
    if values.get("train.reg_param") == 0 and explicit:
        values["train.solver"] = "cholesky"  # which tells the rows that have no single solution
    with called_by_params():
        return Config.of({name: value for name, value in values.items() if value is not None})


def _refuse_without_meaning(params: WALSParams) -> None:
    if params.isSet("unobservedWeight"):
        raise ValueError("unobservedWeight: no meaning with implicitPrefs = False, where unobserved pairs do not count")


@contextmanager
def called_by_params() -> Iterator[None]:
    """Let messages of errors name params and not settings.

    Raises
    ------
    ConfigError, InputError
        Both are a ValueError.
    """
    try:
        yield
    except (ConfigError, InputError) as error:
        message = as_params(str(error))
        if message == str(error):
            raise
        raise type(error)(message) from error


def as_params(message: str) -> str:
    """A message with the names of params in place of those of settings."""
    for setting, param in sorted(_PARAMS.items(), key=lambda pair: -len(pair[0])):
        message = re.sub(rf"\b{re.escape(setting)}\b", param, message)
    return message.replace("in input.path", "in the DataFrame").replace("the input", "the DataFrame")
