"""The space of a search: which settings may vary, and the values of each that a search tries."""

from __future__ import annotations

import difflib
import math

import msgspec

from wals_spark.errors import ConfigError
from wals_spark.objective.automatic import AUTO
from wals_spark.settings.confidence import ConfidenceSettings
from wals_spark.settings.loader import Section
from wals_spark.settings.training import Train
from wals_spark.settings.values import number_type, type_at

_SECTIONS: dict[str, type[Section]] = {"confidence": ConfidenceSettings, "train": Train}
_NEEDS_NEW_BLOCKS = "changes the interactions before they are built into blocks, which happens once for all trials"
_NOT_SEARCHED = {
    "train.preset": "is a name for other settings: give it as what the search starts from, and search over those",
    "train.implicit": "decides how the input is checked, once for all trials",
    "train.evaluate_every": "does not change the model",
    "train.keep": "is of held-out interactions of one training, which a search does not have: test judges its trials",
    "train.negatives": "are drawn before blocks are built, which happens once for all trials: fix them in [train]",
    "train.user_blocks": "does not change the model",
    "train.item_blocks": "does not change the model",
    "train.heavy_row_threshold": "does not change the model",
    "confidence.half_life_days": _NEEDS_NEW_BLOCKS,
    "confidence.decay_floor": _NEEDS_NEW_BLOCKS,
    "confidence.reference_time": _NEEDS_NEW_BLOCKS,
}

Value = bool | int | float | str


class Parameter(Section, frozen=True, kw_only=True):
    """The values of a setting that a search tries: ``choices``, or from ``low`` to ``high``, maybe logarithmic.

    With ``times_auto`` they are multiples of the automatic value that the setting has beside a trial's other settings.
    """

    choices: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    times_auto: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that have to be valid: if they are, all between them are."""
        return self.choices or tuple(end for end in (self.low, self.high) if end is not None)


def is_whole(setting: str) -> bool:
    """Whether a setting takes whole numbers."""
    section, _, key = setting.partition(".")
    return number_type(type_at(_SECTIONS[section], [key]))[0] is int


def check_parameter(setting: str, parameter: Parameter) -> None:
    """Refuse what cannot be searched, and values that are no choices and no range.

    Raises
    ------
    ConfigError
        With the setting, and what would be accepted.
    """
    section, _, key = setting.partition(".")
    if section not in _SECTIONS:
        raise ConfigError(
            f"tune.space.{section}: settings of {' and '.join(_SECTIONS)} can vary, those of {section} not"
        )
    known = [info.name for info in msgspec.structs.fields(_SECTIONS[section])]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        raise ConfigError(f"tune.space: unknown setting {setting}" + (f"; did you mean {near[0]}?" if near else ""))
    if setting in _NOT_SEARCHED:
        raise ConfigError(f"tune.space: {setting} {_NOT_SEARCHED[setting]}")
    low, high = parameter.low, parameter.high
    if bool(parameter.choices) == (low is not None or high is not None):
        raise ConfigError(f"tune.space: {setting} needs either choices, or low and high")
    if parameter.choices:
        return
    if low is None or high is None or not low < high or not math.isfinite(high - low):
        raise ConfigError(f"tune.space: {setting} from {low} to {high} is no range: low < high is needed")
    if parameter.log and low <= 0:
        raise ConfigError(f"tune.space: {setting} from {low}: a logarithmic scale begins above 0")
    if number_type(type_at(_SECTIONS[section], [key]))[0] is None:
        raise ConfigError(f"tune.space: {setting} is no number: list its choices")
    if parameter.times_auto and (AUTO not in number_type(type_at(_SECTIONS[section], [key]))[1] or is_whole(setting)):
        raise ConfigError(f"tune.space: {setting} has no automatic number, so times_auto has no meaning")
    if is_whole(setting) and (low % 1 or high % 1):
        raise ConfigError(f"tune.space: {setting} takes whole numbers, not {low} to {high}")
