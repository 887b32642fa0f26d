"""Settings of a search over settings: what is fixed, what varies and in which range, and how trials are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.evaluation.user_batch import Protocol
from wals_spark.objective.automatic import AUTO
from wals_spark.settings.confidence import ConfidenceSettings
from wals_spark.settings.evaluate import CandidatesInput, Evaluate, EvaluateSettings, HeldOutInput, measure_of
from wals_spark.settings.loader import Section, Settings, checked
from wals_spark.settings.search_space import Parameter, Value, check_parameter
from wals_spark.settings.tables import Input, check_columns, require_path
from wals_spark.settings.train import Config, with_preset
from wals_spark.settings.training import RENAMED_TRAINING, Train

_SPACE = "tune.space"
REDUCTION = 4
"""Of successive halving: one of so many trials goes on, for so many times as many iterations."""


class Tune(Section, frozen=True, kw_only=True):
    """The search."""

    trials: Annotated[
        int,
        Meta(description="Number of trials; those on the leaderboard of output.path count and are not repeated.", ge=1),
    ] = 20
    sampler: Annotated[
        Literal["tpe", "random"],
        Meta(description="Optuna's sampler: random values (random), or values like those of the best trials (tpe)."),
    ] = "tpe"
    startup: Annotated[
        int, Meta(description="Trials at the beginning that tpe draws at random and that are never pruned.", ge=1)
    ] = 8
    seed: Annotated[
        int, Meta(description="Seed of the search; a trial depends on it and on the trials before.", ge=0)
    ] = 0
    metric: Annotated[
        str,
        Meta(
            description=(
                "The metric that the search optimises: recall, precision, ndcg, map, mrr or hit_rate, each with @k; or "
                "percentile_rank."
            )
        ),
    ] = "ndcg@20"
    logged: Annotated[
        tuple[str, ...],
        Meta(description="Other metrics of complete trials, written as metric is: the leaderboard has them."),
    ] = ()
    users: Annotated[
        int,
        Meta(
            description=(
                "Running trials are judged on at most so many users of the test, drawn by a hash of their ids; "
                "complete ones on all."
            ),
            ge=1,
            le=100_000,
        ),
    ] = 10_000
    seeds: Annotated[
        int, Meta(description="With final.path: the best settings are trained with so many seeds.", ge=1, le=100)
    ] = 3
    pruner: Annotated[
        Literal["median", "halving", "none"],
        Meta(
            description=(
                "Prune a trial when it is worse than the median of the earlier trials at that iteration (median), or "
                "not among the best quarter of the trials that reached it (halving); or never (none)."
            )
        ),
    ] = "halving"
    prune_every: Annotated[
        int,
        Meta(
            description=(
                "The iteration after which a running trial is first evaluated, and may be pruned: then again after as "
                "many (median), or after four times as many (halving)."
            ),
            ge=1,
        ),
    ] = 3
    space: Annotated[
        dict[str, dict[str, Parameter]],
        Meta(
            description=(
                "The settings of train and confidence that vary, each with a range or a list of values: in "
                "[tune.space.train], reg_param = { low = 0.01, high = 10.0, log = true }, or rank = { choices = "
                "[16, 32] }. With times_auto = true the values are multiples of the automatic one."
            )
        ),
    ] = msgspec.field(default_factory=dict)

    def evaluates_after(self, iteration: int) -> bool:
        """Whether a running trial is evaluated after an iteration: where it may be pruned."""
        if self.pruner == "none" or iteration % self.prune_every:
            return False
        times = iteration // self.prune_every
        while self.pruner == "halving" and times % REDUCTION == 0:
            times //= REDUCTION
        return self.pruner == "median" or times == 1

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The space by the full names of its settings, in the order of names."""
        flat = {
            f"{section}.{key}": parameter
            for section, parameters in self.space.items()
            for key, parameter in parameters.items()
        }
        return dict(sorted(flat.items()))

    @property
    def measure(self) -> tuple[str, int | None]:
        """The metric's name and its list length k, if it has one.

        Raises
        ------
        ConfigError
            If there is no such metric; the message names those that there are.
        """
        return measure_of("tune.metric", self.metric)


class FoldedIn(HeldOutInput, frozen=True, kw_only=True):
    """Interactions of users who are not in input, to fold in before test evaluates them; without a path, none."""


class FinalTest(HeldOutInput, frozen=True, kw_only=True):
    """Held-out interactions that judge the best settings, after the search, trained on input and test together."""


class TuneOutput(Section, frozen=True, kw_only=True):
    """Where the leaderboard goes."""

    path: Annotated[
        str, Meta(description="Folder or URL; a search whose leaderboard is there already is continued.")
    ] = ""


class TuneSettings(Settings, frozen=True, kw_only=True):
    """All settings of a search: those of training, which every trial starts from, and those of the search itself."""

    renamed: ClassVar[Mapping[str, str]] = {
        **RENAMED_TRAINING,
        **{f"tune.space.{old}": f"tune.space.{new}" for old, new in RENAMED_TRAINING.items()},
    }
    unused: ClassVar[Mapping[str, str]] = (
        {
            f"evaluate.{key}": "no meaning in a search, whose trials are evaluated by tune.metric and tune.logged"
            for key in ("k", "metrics")
        }
        | {
            f"train.{key}": (
                "of held-out interactions of one training, which a search does not have: test judges its trials"
            )
            for key in ("evaluate_every", "keep")
        }
        | {
            "train.warm_start": "each trial of a search starts as the others do",
            "train.align": "no trial of a search is served",
        }
    )

    input: Input = Input()
    test: HeldOutInput = HeldOutInput()
    candidates: CandidatesInput = CandidatesInput()
    fold_in: FoldedIn = FoldedIn()
    final: FinalTest = FinalTest()
    confidence: ConfidenceSettings = ConfidenceSettings()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    tune: Tune = Tune()
    output: TuneOutput = TuneOutput()

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The settings of the preset that the values name, if any, and the values on top; test is read as input is."""
        given: dict[str, Any] = {name: values[name] for name in ("input", "test", "candidates") if name in values}
        tables = EvaluateSettings.completed(given)
        inherited = {key: value for key, value in tables.get("input", {}).items() if key != "path"}
        others = {name: {**inherited, **values.get(name, {})} for name in ("fold_in", "final")}
        return {**with_preset(values), **others, **{name: tables.get(name, {}) for name in ("test", "candidates")}}

    @property
    def protocol(self) -> Protocol:
        """How complete trials are evaluated: as jobs/evaluate.py does."""
        return self._evaluation().protocol

    @property
    def intermediate_protocol(self) -> Protocol:
        """How running trials are: by the metric that is optimised alone, and without intervals."""
        alone = msgspec.structs.replace(self, tune=msgspec.structs.replace(self.tune, logged=()))
        return msgspec.structs.replace(alone._evaluation().evaluate, bootstrap=0).protocol(
            has_training=True, sampled=bool(self.candidates.path)
        )

    def check_together(self, set_values: dict[str, Any]) -> None:
        """Refuse a space that is empty or names what cannot be searched, and ranges that hold no valid value."""
        self._evaluation().check_together({})
        for name in ("fold_in", "final"):
            check_columns(getattr(self, name), name)
        if self.final.path and (self.fold_in.path or self.candidates.path):
            raise ConfigError(
                "final.path: the best settings are judged by the full protocol on users of input and test; it has no "
                "meaning with fold_in.path or candidates.path"
            )
        if not self.tune.parameters:
            raise ConfigError(
                "tune.space is empty: say what varies, as [tune.space.train] reg_param = {low = 0.01, high = 10.0}"
            )
        for setting, parameter in self.tune.parameters.items():
            check_parameter(setting, parameter)
            for value in parameter.ends:
                self._trial({} if parameter.times_auto else {setting: value})
        self._trial({}).check_together(set_values)

    def require_paths(self) -> None:
        """Refuse a search without input, test or output."""
        require_path(self.output.path, "output.path", "folder for the leaderboard")
        require_path(self.test.path, "test.path", "interactions to test with")
        require_path(self.input.path, "input.path", "interactions to train on")

    def times_auto(self, values: Mapping[str, Value]) -> dict[str, float]:
        """The values of a trial that are multiples of automatic ones, by the settings' full names."""
        multiples = {name for name, parameter in self.tune.parameters.items() if parameter.times_auto}
        return {name: float(value) for name, value in values.items() if name in multiples}

    def of_trial(self, values: Mapping[str, Value]) -> Config:
        """The settings that a trial trains with: these, and ``values`` by their full names on top.

        A setting whose values are multiples of its automatic value (`times_auto`) is ``auto``.

        Raises
        ------
        ConfigError
            If they contradict each other.
        """
        config = self._trial({**values, **dict.fromkeys(self.times_auto(values), AUTO)})
        usual = Config().as_dict()
        config.check_together(
            {
                section: {key: value for key, value in settings.items() if value != usual[section][key]}
                for section, settings in config.as_dict().items()
            }
        )
        return config

    def _evaluation(self) -> EvaluateSettings:
        measures = [self.tune.measure, *(measure_of("tune.logged", metric) for metric in self.tune.logged)]
        names, ks = (tuple(dict.fromkeys(values)) for values in zip(*measures, strict=True))
        evaluate = msgspec.structs.replace(self.evaluate, metrics=names, k=tuple(filter(None, ks)) or (1,))
        return EvaluateSettings(input=self.input, test=self.test, candidates=self.candidates, evaluate=evaluate)

    def _trial(self, values: Mapping[str, Value]) -> Config:
        sections = self.as_dict()
        for setting, value in values.items():
            section, _, key = setting.partition(".")
            sections[section][key] = value
        sections["output"] = {"path": self.output.path}
        return checked(Config, {name: sections[name] for name in ("input", "confidence", "train", "output")}, _SPACE)
