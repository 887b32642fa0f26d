"""Searches for settings: builds blocks once, then trains and evaluates trial by trial; a killed search continues."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec
from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError, TrainingError
from wals_spark.evaluation.metrics import LOWER_IS_BETTER
from wals_spark.evaluation.results import Evaluation
from wals_spark.reports.tuning_report import tuning_report
from wals_spark.run.events import HalfIteration
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.tune import TuneSettings
from wals_spark.spark.final_training import final_training
from wals_spark.spark.lease import sole_writer
from wals_spark.spark.search import Search, prepared_search
from wals_spark.spark.storage import REPORT, Storage
from wals_spark.spark.training.rdd import KeyedRecords
from wals_spark.spark.training.recovery import train
from wals_spark.spark.training.state import Listeners
from wals_spark.tuning.best_settings import best_settings, changed_settings
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Leaderboard, Trial, read_leaderboard
from wals_spark.tuning.proposals import Candidate, check_installed, nearest, propose

logger = logging.getLogger("wals_spark")

LEADERBOARD = "leaderboard.json"
BEST = "best.toml"


def require_optuna(_: TuneSettings) -> None:
    """Refuse a search without the library that proposes its trials."""
    check_installed()


def run_tune(spark: SparkSession, settings: TuneSettings) -> None:
    """Search as the settings say, or continue a search whose leaderboard is there; one search at a time."""
    storage = Storage(spark, settings.output.path)
    with sole_writer(storage, "search"):
        _search(spark, storage, settings)


def _search(spark: SparkSession, storage: Storage, settings: TuneSettings) -> None:
    path = storage.path(LEADERBOARD)
    board = None
    if storage.exists(LEADERBOARD):
        board = read_leaderboard(storage.read_text(LEADERBOARD), path)
        board.refuse_other(settings.shown(), None, path)
        logger.info("%d trials are on %s", len(board.trials), path)
    if board is None or len(board.trials) < settings.tune.trials:
        with prepared_search(spark, storage, settings) as search:
            if board is not None:
                board.refuse_other(settings.shown(), search.data, path)
            board = run_trials(search, () if board is None else board.trials)
    best = board.best[0]
    if best.state == FAILED:
        raise TrainingError(f"all {len(board.trials)} trials failed; the first: {best.message}")
    logger.info(
        "the best is trial %d/%d, %s = %s: %s",
        best.number + 1, len(board.trials), settings.tune.metric, best.value, _as_overrides(best),
    )  # fmt: skip
    logger.info("the leaderboard is %s, its picture %s", path, storage.path(REPORT))
    if best.trained:
        logger.info("jobs/train.py --config takes its settings from %s", storage.path(BEST))
    if settings.final.path and best.trained:
        final_training(spark, storage, settings, best)


def run_trials(search: Search, finished: tuple[Trial, ...]) -> Leaderboard:
    """Run the trials that are not finished; leaderboard and picture are written after each."""
    settings, tune = search.settings, search.settings.tune
    board = Leaderboard(settings.shown(), search.data, finished, tune.measure[0] in LOWER_IS_BETTER)
    base = search.prepared.resolved(settings.of_trial({}))  # what training does by itself is the first trial
    first = nearest(tune, {name: base.value_of(name) for name in tune.parameters})
    while len(board.trials) < tune.trials:
        candidate = propose(tune, board.trials, first=first, lower_is_better=board.lower_is_better)
        trial = run_trial(search, candidate)
        board = replace(board, trials=(*board.trials, trial))
        search.storage.replace(board.as_json(), LEADERBOARD)
        page = tuning_report(
            board.trials,
            tune.parameters,
            metric=tune.metric,
            title=f"Search in {settings.output.path}",
            planned=tune.trials,
            lower_is_better=board.lower_is_better,
        )
        search.storage.replace(page, REPORT)
        best = board.best[0]
        if best.state != FAILED and best.trained:  # those of earlier releases do not have it
            search.storage.replace(best_settings(settings, best), BEST)
        outcome = trial.message if trial.value is None else ", ".join(_metrics_of(trial, tune.metric))
        logger.info(
            "trial %d/%d  %s  %s  %.1f s  %s",
            len(board.trials), tune.trials, trial.state, outcome, trial.seconds, _as_overrides(trial),
        )  # fmt: skip
    return board


class TrialPruned(Exception):  # noqa: N818  # nothing is wrong
    """A trial is worse than others were at this point."""


def run_trial(search: Search, candidate: Candidate) -> Trial:
    """Train with the settings of a candidate and evaluate the result; what cannot be trained is a failed trial."""
    began = time.perf_counter()
    intermediate_values: dict[int, float] = {}
    trial = Trial(candidate.number, COMPLETE, candidate.values, None, 0.0, intermediate_values)
    try:
        values, settings = candidate.values, search.settings
        config = search.prepared.resolved(settings.of_trial(values), settings.times_auto(values))
        trial = replace(trial, trained=changed_settings(config))
        evaluation = _train_and_evaluate(search, candidate, config, intermediate_values)
        metric = settings.tune.metric
        metrics = {name: evaluation.value(name) for name in (metric, *settings.tune.logged)}
        trial = replace(trial, value=metrics[metric], metrics=metrics, interval=evaluation.interval(metric))
    except TrialPruned:
        trial = replace(trial, state=PRUNED, value=intermediate_values[max(intermediate_values)])
    except (ConfigError, TrainingError) as error:
        trial = replace(trial, state=FAILED, message=str(error))
    return replace(trial, seconds=round(time.perf_counter() - began, 2))


def _train_and_evaluate(
    search: Search, candidate: Candidate, config: ResolvedConfig, intermediate_values: dict[int, float]
) -> Evaluation:
    """The evaluation of a candidate; ``intermediate_values`` is filled on the way, and may get it pruned."""
    objectives, settings = search.prepared.objectives(config), search.settings

    def judge(iteration: int, value: float) -> None:
        intermediate_values[iteration] = value
        if candidate.should_prune(iteration, value):
            raise TrialPruned

    def on_half_iteration(events: list[HalfIteration]) -> None:
        event = events[-1]
        if event.metric is not None and event.number < event.planned and settings.tune.evaluates_after(event.iteration):
            judge(event.iteration, event.metric)

    def on_iteration(iteration: int, user_factors: KeyedRecords, item_factors: KeyedRecords) -> None:
        if search.running is None and settings.tune.evaluates_after(iteration):
            evaluation = search.evaluate(user_factors, item_factors, objectives, settings.intermediate_protocol)
            judge(iteration, evaluation.value(settings.tune.metric))

    listeners = Listeners(on_half_iteration=on_half_iteration, on_iteration=on_iteration, evaluator=search.running)
    train_settings = msgspec.structs.replace(config.train, evaluate_every=settings.tune.prune_every)
    trained = train(search.prepared.blocks, objectives, train_settings, listeners)
    try:
        return search.evaluate(trained.user_factors, trained.item_factors, objectives, settings.protocol)
    finally:
        trained.unpersist()


def _metrics_of(trial: Trial, metric: str) -> Iterator[str]:
    interval = "" if trial.interval is None else " ({:.4f} to {:.4f})".format(*trial.interval)
    yield f"{metric} {trial.value:.4f}{interval}"
    yield from (f"{name} {value:.4f}" for name, value in trial.metrics.items() if name != metric)


def _as_overrides(trial: Trial) -> str:
    """The settings of a trial as jobs/train.py takes them."""
    return " ".join(f"--set {name}={_as_text(value)}" for name, value in (trial.trained or trial.settings).items())


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
