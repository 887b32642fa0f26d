"""Every setting of training, with its default, its meaning and its limits: the one place that states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.objective.objective import Confidence, Decay, ItemWeight, Objective
from wals_spark.objective.presets import PRESETS
from wals_spark.settings.loader import Section, Settings, load_settings
from wals_spark.settings.tables import Input, NewVersion, Publish, check_input, moment_in_seconds
from wals_spark.settings.training import ConfidenceSettings, Train


class Output(Section, frozen=True, kw_only=True):
    """Where the model goes."""

    path: Annotated[str, Meta(description="Folder or URL of all versions of the model.")] = ""
    version: NewVersion = ""
    publish: Publish = True


class Config(Settings, frozen=True, kw_only=True):
    """All settings of a training run."""

    input: Input = Input()
    confidence: ConfidenceSettings = ConfidenceSettings()
    train: Train = Train()
    output: Output = Output()

    def objectives(
        self, *, users: int, items: int, mean_rating: float = 0.0, largest_item_count: int = 1
    ) -> dict[str, Objective]:
        """What is minimised, as executors get it, for each side.

        ``users`` and ``items`` count their rows, ``largest_item_count`` the most popular item's positive rows.
        """
        train, chosen = self.train, self.confidence
        unobserved_weight = train.unobserved_weight if train.implicit else 0.0
        confidence = Confidence("constant", 1.0, base=0.0)  # of explicit ratings
        if train.implicit:
            confidence = Confidence(
                chosen.function,
                chosen.alpha,
                chosen.epsilon,
                chosen.base if chosen.base is not None else unobserved_weight * (train.unobserved_on == "missing"),
                chosen.impression_weight if self.input.nonpositive == "impression" else None,
            )
        common = Objective(
            confidence=confidence,
            item_weight=ItemWeight(chosen.item_weight, chosen.item_exponent, chosen.propensity_floor),
            unobserved_weight=unobserved_weight,
            unobserved_on=train.unobserved_on,
            target=train.target if train.implicit else "rating",
            offset=mean_rating if train.global_mean else 0.0,
            reg_scaling=train.reg_scaling,
            reg_exponent=train.reg_exponent,
            nonnegative=train.nonnegative,
            largest_item_count=largest_item_count,
        )

        def of_side(reg_param: float | None, n_fixed: int, held: int) -> Objective:
            return replace(
                common,
                reg_param=train.reg_param if reg_param is None else reg_param,
                n_fixed=n_fixed,
                held=held if train.biases else None,
            )

        return {  # a user's row ends in (bias, 1), an item's in (1, bias)
            "users": of_side(train.user_reg_param, items, train.rank + 1),
            "items": of_side(train.item_reg_param, users, train.rank),
        }

    def as_trained(self, table: Input) -> Input:
        """Another input, its rows read by the meaning that they had in this training.

        Raises
        ------
        ConfigError
            If that needs a time and ``table`` names no column of times.
        """
        source = msgspec.structs.replace(table, duplicates=self.input.duplicates, nonpositive=self.input.nonpositive)
        check_input(source, "interactions")
        if self.confidence.half_life_days and not table.timestamp:
            raise ConfigError(
                "input.timestamp is not set: ratings fade with age in this model; name the column of times"
            )
        return source

    def decay(self) -> Decay | None:
        """How ratings fade, or None if they do not."""
        chosen = self.confidence
        if not chosen.half_life_days:
            return None
        moment = chosen.reference_time
        reference = moment_in_seconds(moment, "confidence.reference_time") if moment else None
        return Decay(chosen.half_life_days, chosen.decay_floor, reference)

    @classmethod
    def completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The settings of the preset that ``given`` names, if any, with ``given`` on top."""
        train = given.get("train")
        preset = PRESETS.get(train.get("preset", "")) if isinstance(train, dict) else None
        if preset is None:
            return given
        sections = {section: dict(settings) for section, settings in preset.items()}
        for section, settings in given.items():
            sections[section] = {**sections.get(section, {}), **settings} if isinstance(settings, dict) else settings
        return sections

    def check_together(self, given: dict[str, Any]) -> None:
        """Refuse an input without columns of its own, and an objective that has no meaning."""
        if not self.output.path:
            raise ConfigError("output.path is not set: name the folder that holds the model's versions")
        check_input(self.input, "interactions to train on")
        _check_objective(self, given)
        if self.confidence.half_life_days and not self.input.timestamp:
            raise ConfigError("confidence.half_life_days needs input.timestamp: name the column of times")
        if self.confidence.reference_time:
            moment_in_seconds(self.confidence.reference_time, "confidence.reference_time")


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a training run: `load_settings`."""
    return load_settings(Config, path, overrides)


_POPULARITY = ("item_weight", "item_exponent", "propensity_floor")


def _check_objective(config: Config, given: dict[str, Any]) -> None:
    """Refuse an objective that has no meaning, or no single minimum."""
    train, chosen = config.train, config.confidence
    given_train, given_confidence = given.get("train", {}), given.get("confidence", {})
    if not train.implicit:
        idle = [f"confidence.{key}" for key in given_confidence if key not in _POPULARITY]
        idle += [f"train.{key}" for key in ("unobserved_weight", "unobserved_on", "target") if key in given_train]
        if idle:
            raise ConfigError(
                f"{', '.join(idle)}: no meaning with train.implicit = false, where the rating is what is predicted and "
                "weighs 1 (times input.weight, if there is one)"
            )
        if chosen.item_weight not in ("none", "propensity"):
            raise ConfigError(
                f"confidence.item_weight = {chosen.item_weight}: defined by what an observation weighs beyond the "
                "unobserved ones, which do not count with train.implicit = false; propensity is defined there"
            )
    changed = {key for key in given_confidence if getattr(chosen, key) != getattr(ConfidenceSettings(), key)}
    for key, needs in (("item_exponent", ("power", "propensity")), ("propensity_floor", ("propensity",))):
        if key in changed and chosen.item_weight not in needs:
            raise ConfigError(f"confidence.{key} needs confidence.item_weight = {' or '.join(needs)}")
    if "impression_weight" in changed and config.input.nonpositive != "impression":
        raise ConfigError("confidence.impression_weight needs input.nonpositive = impression: which rows are they?")
    if config.input.nonpositive != "bad" and (not train.implicit or train.target == "rating"):
        raise ConfigError(
            f"input.nonpositive = {config.input.nonpositive}: no meaning where the rating itself is the target "
            "(train.implicit = false or train.target = rating)"
        )
    if train.global_mean and train.implicit:
        raise ConfigError("train.global_mean: implicit feedback has no mean rating; it needs train.implicit = false")
    if train.nonnegative and (train.global_mean or train.start == "normal"):
        cause = "train.global_mean leaves ratings below 0" if train.global_mean else "train.start = normal is not"
        raise ConfigError(f"train.nonnegative: factors are to be non-negative, and {cause}")
    lambdas = {train.reg_param if own is None else own for own in (train.user_reg_param, train.item_reg_param)}
    if 0 in lambdas and (not train.implicit or train.unobserved_weight == 0):
        raise ConfigError(
            "train.reg_param = 0 without unobserved weight: a row with fewer observations than factors has no single "
            "solution; set train.reg_param (or user_reg_param, item_reg_param) above 0"
        )
