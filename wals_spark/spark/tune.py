"""Searches for settings: builds blocks once, then trains and evaluates trial by trial; a killed search continues."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError, TrainingError
from wals_spark.evaluation.metrics import LOWER_IS_BETTER
from wals_spark.reports.tuning_report import tuning_report
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.tune import TuneSettings
from wals_spark.spark.checking import check
from wals_spark.spark.evaluate import evaluate
from wals_spark.spark.hard_negatives import with_negatives
from wals_spark.spark.held_out import HeldOut, PopularityOptions, gathered
from wals_spark.spark.histories import partitions
from wals_spark.spark.model.factor_tables import write_factors
from wals_spark.spark.model.publish import WORK
from wals_spark.spark.negatives import read_candidates
from wals_spark.spark.reading import read
from wals_spark.spark.storage import REPORT, Storage
from wals_spark.spark.train import Prepared, build, check_input
from wals_spark.spark.training.loop import Listeners, train
from wals_spark.spark.training.rdd import KeyedRecords
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
    """Search as the settings say, or continue a search whose leaderboard is there."""
    storage = Storage(spark, settings.output.path)
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


@dataclass(frozen=True)
class Search:
    """What all trials of a search share; ``data`` counts users, items, observations and rows of the test."""

    storage: Storage
    settings: TuneSettings
    prepared: Prepared
    held_out: HeldOut
    data: dict[str, int]

    def evaluate(self, user_factors: KeyedRecords, item_factors: KeyedRecords, width: int) -> float:
        """The metric of the search for current factors."""
        blocks, tables = self.prepared.blocks, {}
        for side, factors in ((blocks.users, user_factors), (blocks.items, item_factors)):
            self.storage.delete(WORK, f"{side.name}_factors")
            path = self.storage.path(WORK, f"{side.name}_factors")
            write_factors(side, factors, path)
            tables[side.name] = side.spark.read.parquet(path)
        protocol = self.settings.protocol
        evaluation = evaluate(self.held_out, tables["users"], tables["items"], width=width, protocol=protocol)
        return evaluation.value(self.settings.tune.metric)


@contextmanager
def prepared_search(spark: SparkSession, storage: Storage, settings: TuneSettings) -> Iterator[Search]:
    """Check and build blocks, and gather what is held out: once for all trials, and deleted at the end."""
    config, test = settings.of_trial({}), settings.test
    storage.delete(WORK)  # of a search that was killed
    try:
        interactions = check_input(read(spark, settings.input), config)
        negatives = storage.path(WORK, "negatives")
        prepared = build(with_negatives(interactions, config.train.negatives, negatives), config, storage.path(WORK))
        tested = check(read(spark, test, section="test"), test, section="test")
        candidates = None
        if settings.candidates.path:
            listed = settings.candidates
            candidates = check(read_candidates(spark, listed), listed, section="candidates").table
        blocks = prepared.blocks
        data = {
            "users": blocks.users.rows,
            "items": blocks.items.rows,
            "observations": blocks.counts.observations,
            "test_rows": tested.rows,
        }
        logger.info("built blocks of %s", ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in data.items()))
        if (settings.tune.measure[1] or 0) > blocks.items.rows:
            raise ConfigError(f"tune.metric = {settings.tune.metric}: there are no more than {blocks.items.rows} items")
        with gathered(
            tested.table,
            interactions.table,
            candidates,
            n_partitions=partitions(blocks.users.rows, blocks.items.rows, spark.sparkContext.defaultParallelism),
            duplicates=test.duplicates,
            popularity=PopularityOptions(with_popularity=False),
        ) as held_out:
            yield Search(storage, settings, prepared, held_out, data)
    finally:
        storage.delete(WORK)


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
        search.storage.write_text(board.as_json(), LEADERBOARD)
        page = tuning_report(
            board.trials,
            tune.parameters,
            metric=tune.metric,
            title=f"Search in {settings.output.path}",
            planned=tune.trials,
            lower_is_better=board.lower_is_better,
        )
        search.storage.write_text(page, REPORT)
        best = board.best[0]
        if best.state != FAILED and best.trained:  # those of earlier releases do not have it
            search.storage.write_text(best_settings(settings, best), BEST)
        outcome = trial.message if trial.value is None else f"{tune.metric} {trial.value:.4f}"
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
    state, value, message, trained = COMPLETE, None, "", {}
    try:
        values, settings = candidate.values, search.settings
        config = search.prepared.resolved(settings.of_trial(values), settings.times_auto(values))
        trained = changed_settings(config)
        value = _train_and_evaluate(search, candidate, config, intermediate_values)
    except TrialPruned:
        state, value = PRUNED, intermediate_values[max(intermediate_values)]
    except (ConfigError, TrainingError) as error:
        state, message = FAILED, str(error)
    seconds = round(time.perf_counter() - began, 2)
    return Trial(candidate.number, state, candidate.values, value, seconds, intermediate_values, message, trained)


def _train_and_evaluate(
    search: Search, candidate: Candidate, config: ResolvedConfig, intermediate_values: dict[int, float]
) -> float:
    """The metric of a candidate; ``intermediate_values`` is filled on the way, and may get it pruned."""
    width = config.train.width

    def on_iteration(iteration: int, user_factors: KeyedRecords, item_factors: KeyedRecords) -> None:
        if search.settings.tune.evaluates_after(iteration):
            intermediate_values[iteration] = search.evaluate(user_factors, item_factors, width)
            if candidate.should_prune(iteration, intermediate_values[iteration]):
                raise TrialPruned

    objectives = search.prepared.objectives(config)
    trained = train(search.prepared.blocks, objectives, config.train, Listeners(on_iteration=on_iteration))
    try:
        return search.evaluate(trained.user_factors, trained.item_factors, width)
    finally:
        trained.unpersist()


def _as_overrides(trial: Trial) -> str:
    """The settings of a trial as jobs/train.py takes them."""
    return " ".join(f"--set {name}={_as_text(value)}" for name, value in (trial.trained or trial.settings).items())


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
