"""Search for settings: lay out once, then train and judge trial by trial; a search that was killed goes on.

Runs under spark-submit and under plain python.
"""

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
from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.tune import TuneSettings
from wals_spark.spark import checking as ratings
from wals_spark.spark import evaluate as evaluating
from wals_spark.spark import held_out
from wals_spark.spark.held_out import HeldOut
from wals_spark.spark.histories import partitions
from wals_spark.spark.model import publish as publishing
from wals_spark.spark.session import open_session
from wals_spark.spark.storage import REPORT, Storage
from wals_spark.spark.training import build as blocking
from wals_spark.spark.training import loop as training
from wals_spark.spark.training.build import Blocks
from wals_spark.spark.training.rdd import KeyedRecords
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Leaderboard, Trial, read_leaderboard
from wals_spark.tuning.proposals import Candidate, check_installed, propose

logger = logging.getLogger("wals_spark")

LEADERBOARD = "leaderboard.json"


def main() -> None:
    """Search as the command line says."""
    settings = parse_settings(TuneSettings, "Search for the settings of training that rank held-out interactions best.")
    check_installed()
    with open_session("wals_spark tune") as spark:
        storage = Storage(spark, settings.output.path)
        where = storage.path(LEADERBOARD)
        board = None
        if storage.exists(LEADERBOARD):
            board = read_leaderboard(storage.read_text(LEADERBOARD), where)
            board.refuse_other(settings.as_dict(), None, where)
            logger.info("%d trials are on %s", len(board.trials), where)
        if board is None or len(board.trials) < settings.tune.trials:
            with prepared(spark, storage, settings) as course:
                if board is not None:
                    board.refuse_other(settings.as_dict(), course.data, where)
                board = search(course, () if board is None else board.trials)
        best = board.best[0]
        if best.state == FAILED:
            raise TrainingError(f"all {len(board.trials)} trials failed; trial {best.number}: {best.message}")
        logger.info("the best is trial %d, %s = %s: %s", best.number, settings.tune.metric, best.value, _as_set(best))
        logger.info("the leaderboard is %s, its picture %s", where, storage.path(REPORT))


@dataclass(frozen=True)
class Course:
    """What all trials of a search share; ``data`` is how much of what there is."""

    spark: SparkSession
    storage: Storage
    settings: TuneSettings
    blocks: Blocks
    tests: HeldOut
    data: dict[str, int]

    def evaluate_batch(self, users: KeyedRecords, items: KeyedRecords, width: int) -> float:
        """The metric that is searched by, of factors as they stand."""
        tables = {}
        for side, factors in ((self.blocks.users, users), (self.blocks.items, items)):
            self.storage.delete(publishing.WORK, f"{side.name}_factors")
            path = self.storage.path(publishing.WORK, f"{side.name}_factors")
            publishing.write_factors(self.spark, side, factors, path)
            tables[side.name] = self.spark.read.parquet(path)
        evaluation = evaluating.evaluate(
            self.tests, tables["users"], tables["items"], width=width, protocol=self.settings.protocol
        )
        value: float = evaluation.metrics[0]["model"]
        return value


@contextmanager
def prepared(spark: SparkSession, storage: Storage, settings: TuneSettings) -> Iterator[Course]:
    """Read, check and lay out, and gather what is held out: once for all trials, and gone at the end."""
    config, test = settings.of_trial({}), settings.test
    storage.delete(publishing.WORK)  # of a search that was killed
    try:
        checked = ratings.check(
            ratings.read(spark, settings.input), settings.input, implicit=config.train.implicit, decay=config.decay()
        )
        tested = ratings.check(ratings.read(spark, test, section="test"), test, section="test")
        blocks = blocking.build_blocks(
            spark,
            checked.table,
            rows=checked.rows,
            duplicates=settings.input.duplicates,
            work=storage.path(publishing.WORK),
            item_costs=checked.item_costs,
            user_blocks=config.train.user_blocks,
            item_blocks=config.train.item_blocks,
            heavy_row_threshold=config.train.heavy_row_threshold,
        )
        data = {
            "users": blocks.users.rows,
            "items": blocks.items.rows,
            "observations": blocks.observations,
            "test_rows": tested.rows,
        }
        logger.info("laid out %s", ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in data.items()))
        if (settings.tune.measure[1] or 0) > blocks.items.rows:
            raise ConfigError(f"tune.metric = {settings.tune.metric}: there are no more than {blocks.items.rows} items")
        cores = spark.sparkContext.defaultParallelism
        with held_out.gathered(
            tested.table,
            checked.table,
            n_partitions=partitions(blocks.users.rows, blocks.items.rows, cores),
            duplicates=test.duplicates,
        ) as tests:
            without_popularity = replace(tests, counts=None, popularity=None)
            yield Course(spark, storage, settings, blocks, without_popularity, data)
    finally:
        storage.delete(publishing.WORK)


def search(course: Course, done: tuple[Trial, ...]) -> Leaderboard:
    """Run the trials that are not done yet; leaderboard and picture are written after each."""
    settings, tune = course.settings, course.settings.tune
    board = Leaderboard(settings.as_dict(), course.data, done, tune.measure[0] in LOWER_IS_BETTER)
    while len(board.trials) < tune.trials:
        candidate = propose(tune, board.trials, lower_is_better=board.lower_is_better)
        trial = run_trial(course, candidate)
        board = replace(board, trials=(*board.trials, trial))
        course.storage.write_text(board.as_json(), LEADERBOARD)
        page = tuning_report(
            board.trials,
            tune.parameters,
            metric=tune.metric,
            title=f"Search in {settings.output.path}",
            planned=tune.trials,
            lower_is_better=board.lower_is_better,
        )
        course.storage.write_text(page, REPORT)
        said = trial.message if trial.value is None else f"{tune.metric} {trial.value:.4f}"
        logger.info(
            "trial %d/%d  %s  %s  %.1f s  %s",
            len(board.trials), tune.trials, trial.state, said, trial.seconds, _as_set(trial),
        )  # fmt: skip
    return board


class TrialPruned(Exception):  # noqa: N818  # nothing is wrong
    """A trial does worse than others did at this point."""


def run_trial(course: Course, candidate: Candidate) -> Trial:
    """Train with a candidate's settings and judge what comes out; what cannot be trained is a failed trial."""
    began = time.perf_counter()
    tune, blocks = course.settings.tune, course.blocks
    intermediate_values: dict[int, float] = {}
    state, value, message = COMPLETE, None, ""
    try:
        config = course.settings.of_trial(candidate.values)
        width = config.train.width

        def look(iteration: int, users: KeyedRecords, items: KeyedRecords) -> None:
            if tune.pruner != "none" and iteration % tune.prune_every == 0:
                intermediate_values[iteration] = course.evaluate_batch(users, items, width)
                if candidate.should_prune(iteration, intermediate_values[iteration]):
                    raise TrialPruned

        objectives = config.objectives(
            users=blocks.users.rows,
            items=blocks.items.rows,
            mean_rating=blocks.mean_rating,
            largest_item_count=blocks.largest_item_count,
        )
        trained = training.train(
            course.spark.sparkContext, blocks.users, blocks.items, config.train, objectives,
            report=lambda _: None, inspect=look,
        )  # fmt: skip
        try:
            value = course.evaluate_batch(trained.user_factors, trained.item_factors, width)
        finally:
            trained.unpersist()
    except TrialPruned:
        state, value = PRUNED, intermediate_values[max(intermediate_values)]
    except (ConfigError, TrainingError) as error:
        state, message = FAILED, str(error)
    seconds = round(time.perf_counter() - began, 2)
    return Trial(candidate.number, state, candidate.values, value, seconds, intermediate_values, message)


def _as_set(trial: Trial) -> str:
    """Its settings as jobs/train.py takes them."""
    return " ".join(f"--set {name}={_as_text(value)}" for name, value in trial.settings.items())


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    run(main)
