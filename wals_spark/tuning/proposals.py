"""Which settings to try next and when to prune a trial, by Optuna: a function of the settings and finished trials.

Optuna's own storage is not used. Each trial has a sampler of its own, seeded by the seed of the search and the number
of the trial, and a study of the finished trials; so a killed search, when it resumes, tries what it would have tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from wals_spark.errors import ConfigError
from wals_spark.settings.search_space import Parameter, Value, is_whole
from wals_spark.settings.tune import REDUCTION, Tune
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Trial

if TYPE_CHECKING:
    import optuna


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Candidate:
    """A trial to run: its ``number``, the ``values`` of its settings, and whether it should be pruned."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.number: int = trial.number
        self.values: dict[str, Value] = dict(trial.params)
        self._trial = trial

    def should_prune(self, iteration: int, value: float) -> bool:
        """Whether to stop the trial, after it reports the metric of an iteration; iterations are reported in order."""
        self._trial.report(value, iteration)
        return bool(self._trial.should_prune())


def check_installed() -> None:
    """Refuse to start a search without Optuna.

    Raises
    ------
    ConfigError
        With the command that installs it.
    """
    _optuna()


def propose(
    tune: Tune, finished: Sequence[Trial], *, first: Mapping[str, Any] = _NOTHING, lower_is_better: bool = False
) -> Candidate:
    """The next trial, after the ``finished`` ones: these are in the order of their numbers, from 0 without a gap.

    The first trial has the values of ``first``; what is not in them is drawn.

    Raises
    ------
    ConfigError
        If Optuna is not installed.
    """
    optuna = _optuna()
    seed = int(np.random.SeedSequence([tune.seed, len(finished)]).generate_state(1)[0])
    samplers = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=tune.startup, multivariate=True),
    }
    pruners = {
        "none": optuna.pruners.NopPruner,
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=tune.startup),
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(
            min_resource=tune.prune_every, reduction_factor=REDUCTION
        ),
    }
    study = optuna.create_study(
        direction="minimize" if lower_is_better else "maximize",
        sampler=samplers[tune.sampler](),
        pruner=pruners[tune.pruner](),
    )
    space = {setting: _distribution(setting, parameter) for setting, parameter in tune.parameters.items()}
    for trial in finished:
        study.add_trial(_recorded(tune, trial, space))
    if not finished and first:
        study.enqueue_trial(dict(first))
    return Candidate(study.ask(space))


def _recorded(tune: Tune, trial: Trial, space: Mapping[str, Any]) -> Any:
    """A finished trial as Optuna has it."""
    optuna = _optuna()
    states = {name: optuna.trial.TrialState[name.upper()] for name in (COMPLETE, PRUNED)}
    return optuna.trial.create_trial(
        state=states.get(trial.state, optuna.trial.TrialState.FAIL),
        params=trial.settings,
        distributions=space,
        value=None if trial.state == FAILED else trial.value,
        intermediate_values=trial.intermediate_values,
        system_attrs=_rungs(tune, trial),
    )


def _rungs(tune: Tune, trial: Trial) -> dict[str, float]:
    """What Optuna's successive halving has noted of a trial that it decided on: the value at each rung."""
    rungs: dict[str, float] = {}
    iteration = tune.prune_every
    while tune.pruner == "halving" and iteration in trial.intermediate_values:
        rungs[f"completed_rung_{len(rungs)}"] = trial.intermediate_values[iteration]
        iteration *= REDUCTION
    return rungs


def nearest(tune: Tune, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings that the search varies, by their full names, moved into its space where they are outside.

    Of a list of names, one that is not in it is left out; the sampler draws it.
    """
    found = {}
    for name, parameter in tune.parameters.items():
        value = 1.0 if parameter.times_auto else values[name]
        if not parameter.choices:
            low, high = parameter.ends
            found[name] = min(max(value, low), high)
        elif value in parameter.choices:
            found[name] = value
        elif all(isinstance(choice, int | float) for choice in (value, *parameter.choices)):
            found[name] = min(parameter.choices, key=lambda choice: abs(float(choice) - value))
    return found


def _distribution(setting: str, parameter: Parameter) -> Any:
    distributions = _optuna().distributions
    if parameter.choices:
        return distributions.CategoricalDistribution(parameter.choices)
    low, high = parameter.ends
    if is_whole(setting):
        return distributions.IntDistribution(int(low), int(high), log=parameter.log)
    return distributions.FloatDistribution(float(low), float(high), log=parameter.log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("jobs/tune.py needs Optuna: pip install 'wals_spark[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
