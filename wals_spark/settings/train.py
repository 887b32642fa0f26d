"""Every setting of a training run, with its default, its meaning and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.objective.objective import Decay
from wals_spark.objective.presets import PRESETS
from wals_spark.settings.confidence import ConfidenceSettings
from wals_spark.settings.held_out import HeldOutOfTraining
from wals_spark.settings.loader import Section, Settings, load_settings
from wals_spark.settings.run import Checkpoint, Lease, Run
from wals_spark.settings.tables import Input, NewVersion, Publish, check_columns, moment_in_seconds, require_path
from wals_spark.settings.training import RENAMED_TRAINING, Train

_OF_POPULARITY = ("item_weight", "item_exponent", "propensity_floor")  # settings that explicit feedback has, too


class Output(Section, frozen=True, kw_only=True):
    """Where the model goes."""

    path: Annotated[str, Meta(description="Folder or URL of all versions of the model.")] = ""
    version: NewVersion = ""
    publish: Publish = True


class Config(Settings, frozen=True, kw_only=True):
    """All settings of a training run."""

    renamed: ClassVar[Mapping[str, str]] = RENAMED_TRAINING

    input: Input = Input()
    held_out: HeldOutOfTraining = HeldOutOfTraining()
    confidence: ConfidenceSettings = ConfidenceSettings()
    train: Train = Train()
    output: Output = Output()
    run: Run = Run()
    checkpoint: Checkpoint = Checkpoint()
    lease: Lease = Lease()

    @property
    def run_name(self) -> str:
        """The name of a run that the same settings go on with; empty: each has another."""
        return self.run.id or self.output.version

    def as_trained(self, table: Input) -> Input:
        """Another table of interactions, its rows read with the meaning that they had in this training.

        Raises
        ------
        ConfigError
            If that needs a time and ``table`` names no column of times.
        """
        source = msgspec.structs.replace(table, duplicates=self.input.duplicates, nonpositive=self.input.nonpositive)
        check_columns(source)
        if self.confidence.half_life_days and not table.timestamp:
            raise ConfigError(
                "input.timestamp is not set: ratings decay with age in this model; name the column of times"
            )
        return source

    @property
    def held_out_metric(self) -> str:
        """The metric of held-out interactions, ``auto`` resolved."""
        predicts_ratings = not self.train.implicit or self.train.target == "rating"
        return self.held_out.metric_of(predicts_ratings=predicts_ratings)

    def decay(self) -> Decay | None:
        """How ratings decay with age, or None if they do not."""
        confidence = self.confidence
        if not confidence.half_life_days:
            return None
        moment = confidence.reference_time
        reference = moment_in_seconds(moment, "confidence.reference_time") if moment else None
        return Decay(confidence.half_life_days, confidence.decay_floor, reference)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The settings of the preset that the values name, if any, with the values on top, and what they imply."""
        return _with_inherited(with_preset(values))

    def check_together(self, set_values: dict[str, Any]) -> None:
        """Refuse columns that contradict each other, and an objective that has no meaning."""
        check_columns(self.input)
        _check_objective(self, set_values)
        self.held_out.check()
        _ = self.held_out_metric
        if self.confidence.half_life_days and not self.input.timestamp:
            raise ConfigError("confidence.half_life_days needs input.timestamp: name the column of times")
        if self.confidence.reference_time:
            moment_in_seconds(self.confidence.reference_time, "confidence.reference_time")

    def require_paths(self) -> None:
        """Refuse a training job without input or output."""
        require_path(self.output.path, "output.path", "folder that holds the model's versions")
        require_path(self.input.path, "input.path", "interactions to train on")
        if not self.held_out.given:
            self._refuse_idle_evaluation()

    def _refuse_idle_evaluation(self) -> None:
        """Refuse settings that have no meaning without held-out interactions."""
        for section, keys in (("train", ("evaluate_every", "keep")), ("held_out", ("metric", "users", "seed"))):
            settings = getattr(self, section)
            for key in keys:
                if getattr(settings, key) != getattr(type(settings)(), key):
                    raise ConfigError(
                        f"{section}.{key} needs interactions to evaluate by: set held_out.path, or held_out.share to "
                        "hold a share of the input out"
                    )


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a training run: `load_settings`."""
    return load_settings(Config, path, overrides)


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of the preset that the values name, if any, with the values on top, and the duplicates implied."""
    train = values.get("train")
    name = train.get("preset") if isinstance(train, dict) else None
    if not isinstance(name, str) or name not in PRESETS:
        return _with_implied_duplicates(values)
    sections = {section: dict(settings) for section, settings in PRESETS[name].items()}
    for section, settings in values.items():
        sections[section] = {**sections.get(section, {}), **settings} if isinstance(settings, dict) else settings
    return _with_implied_duplicates(sections)


def _with_implied_duplicates(values: dict[str, Any]) -> dict[str, Any]:
    """Where ratings are predicted, 3 and 5 of one pair are not an 8: duplicates = mean, if nothing else is set."""
    train, source = values.get("train", {}), values.get("input", {})
    is_explicit = isinstance(train, dict) and str(train.get("implicit")).lower() in ("false", "0")
    if not is_explicit or not isinstance(source, dict):
        return values
    return {**values, "input": {"duplicates": "mean", **source}}


def _with_inherited(values: dict[str, Any]) -> dict[str, Any]:
    """The values, and those that held_out has from input."""
    source, held_out = values.get("input", {}), values.get("held_out", {})
    if not isinstance(source, dict) or not isinstance(held_out, dict):
        return values
    inherited = {key: value for key, value in source.items() if key != "path"}
    if inherited.get("nonpositive", "bad") != "bad":
        inherited["nonpositive"] = "unobserved"  # an item that a user dislikes is not one to find
    return {**values, "held_out": {**inherited, **held_out}}


def _check_objective(config: Config, set_values: Mapping[str, Any]) -> None:
    """Refuse an objective that has no meaning, or no single minimum; ``set_values`` are those that were set."""
    if not config.train.implicit:
        _check_explicit(config, set_values)
    _check_confidence(config, set_values)
    _check_training(config)


def _check_explicit(config: Config, set_values: Mapping[str, Any]) -> None:
    idle = [f"confidence.{key}" for key in set_values.get("confidence", {}) if key not in _OF_POPULARITY]
    idle += [
        f"train.{key}" for key in ("unobserved_weight", "unobserved_on", "target") if key in set_values.get("train", {})
    ]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: no meaning with train.implicit = false, where the rating is what is predicted and "
            "its weight is 1 (times input.weight, if there is one)"
        )
    item_weight = config.confidence.item_weight
    if item_weight not in ("none", "propensity"):
        raise ConfigError(
            f"confidence.item_weight = {item_weight}: defined by the weight of an observation beyond that of "
            "unobserved pairs, which do not count with train.implicit = false; propensity is defined there"
        )


def _check_confidence(config: Config, set_values: Mapping[str, Any]) -> None:
    confidence, usual = config.confidence, ConfidenceSettings()
    changed = {key for key in set_values.get("confidence", {}) if getattr(confidence, key) != getattr(usual, key)}
    for key, needs in (("item_exponent", ("power", "propensity")), ("propensity_floor", ("propensity",))):
        if key in changed and confidence.item_weight not in needs:
            raise ConfigError(f"confidence.{key} needs confidence.item_weight = {' or '.join(needs)}")
    if "impression_weight" in changed and config.input.nonpositive != "impression":
        raise ConfigError("confidence.impression_weight needs input.nonpositive = impression: which rows are they?")


def _check_negatives(config: Config) -> None:
    negatives = config.train.negatives
    if not negatives.per_user:
        idle = [name for name in ("weight", "from", "seed") if _is_set(negatives, name)]
        if idle:
            raise ConfigError(f"train.negatives.{idle[0]} needs train.negatives.per_user: how many, such as 20?")
        return
    if not negatives.sources:
        raise ConfigError(
            "train.negatives.per_user needs train.negatives.from: the folder of a model's versions, or popularity"
        )
    if not config.train.implicit or config.train.target == "rating":
        raise ConfigError("train.negatives: no meaning where the rating itself is the target, as a negative has none")
    if config.input.nonpositive in ("dislike", "impression", "mllib"):
        raise ConfigError(
            f"train.negatives and input.nonpositive = {config.input.nonpositive}: the rows of a rating <= 0 are "
            "negatives already, with a weight of their own; keep one of them"
        )


def _is_set(section: Section, name: str) -> bool:
    return bool(msgspec.to_builtins(section)[name] != msgspec.to_builtins(type(section)())[name])


def _check_training(config: Config) -> None:
    train = config.train
    if config.input.nonpositive != "bad" and (not train.implicit or train.target == "rating"):
        raise ConfigError(
            f"input.nonpositive = {config.input.nonpositive}: no meaning where the rating itself is the target "
            "(train.implicit = false or train.target = rating)"
        )
    _check_negatives(config)
    if train.nonnegative and train.align != "none":
        raise ConfigError("train.align: rotated factors have negative entries, and train.nonnegative asks for none")
    mean = train.global_mean is True  # and not auto
    if mean and train.implicit:
        raise ConfigError("train.global_mean: implicit feedback has no mean rating; it needs train.implicit = false")
    if train.nonnegative and (mean or train.start == "normal"):
        cause = "train.global_mean leaves ratings below 0" if mean else "train.start = normal is not"
        raise ConfigError(f"train.nonnegative: factors are to be non-negative, and {cause}")
    of_sides = (train.user_reg_param, train.item_reg_param)
    lambdas = [train.reg_param if value is None else value for value in of_sides]
    if 0 in lambdas and (not train.implicit or train.unobserved_weight == 0) and train.solver != "cholesky":
        raise ConfigError(
            "train.reg_param = 0 without unobserved weight: a row with fewer observations than factors has no single "
            "solution; set train.reg_param (or user_reg_param, item_reg_param) above 0, or, if every row has enough of "
            "them, train.solver = cholesky, which refuses those that have not"
        )
