"""Trains a model: checks interactions, builds blocks, trains, and writes a version. All training goes through here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from wals_spark.arrays.histogram import Histogram
from wals_spark.objective.objective import Objective
from wals_spark.run.events import HalfIteration
from wals_spark.run.manifest import TrainingRun, new_version_name, training_manifest
from wals_spark.run.objective_summary import describe_automatic, describe_objective, describe_weights
from wals_spark.run.phases import Phases
from wals_spark.run.progress import describe_kept, progress
from wals_spark.settings.resolved import ResolvedConfig, automatic_settings, resolved
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.checking import Interactions, check
from wals_spark.spark.hard_negatives import with_negatives
from wals_spark.spark.model.factor_tables import write_factors, write_item_weights
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.publish import WORK, event_log, new_version, publish
from wals_spark.spark.model.report import write_report
from wals_spark.spark.reading import read, unreadable_is_refused
from wals_spark.spark.sample_evaluation import RawTables, SampleEvaluator, evaluator_of, judged_users, raw_tables
from wals_spark.spark.storage import GRAMIANS, Storage
from wals_spark.spark.training.build import Blocks, build_blocks
from wals_spark.spark.training.loop import Listeners, Trained, train

logger = logging.getLogger("wals_spark")


class Prepared(NamedTuple):
    """Checked interactions, and the blocks built from them."""

    interactions: Interactions
    blocks: Blocks

    def resolved(self, config: Config, times: Mapping[str, float] | None = None) -> ResolvedConfig:
        """The settings with a number, for this data, in place of each ``auto``; ``times`` has factors of these."""
        return resolved(config, self.blocks.counts, times=times or {})

    def objectives(self, config: ResolvedConfig) -> dict[str, Objective]:
        """What is minimised for the rows of each side, with all that only the data can tell."""
        return config.objectives(self.blocks.counts)

    @property
    def counts(self) -> dict[str, int]:
        """What a manifest says of the interactions."""
        blocks = self.blocks
        return {
            "users": blocks.users.rows,
            "items": blocks.items.rows,
            "observations": blocks.counts.observations,
            "duplicates_merged": blocks.merged,
            "rows_dropped": self.interactions.dropped,
            **({"negatives": self.interactions.negatives} if self.interactions.negatives else {}),
        }


def run_train(spark: SparkSession, config: Config) -> None:
    """Train on the interactions that the settings name, and write a version of the model."""
    held_out = read(spark, config.held_out, section="held_out") if config.held_out.path else None
    train_version(read(spark, config.input), config, Storage(spark, config.output.path), held_out)


def check_input(raw: DataFrame, config: Config) -> Interactions:
    """Check interactions to train on, or to fold in, by the settings."""
    interactions = check(raw, config.input, implicit=config.train.implicit, decay=config.decay())
    source = config.input.named("input") if config.input.path else "the DataFrame"
    logger.info("read %s rows of %s", f"{interactions.rows:,}", source)
    return interactions


def check_held_out(raw: DataFrame | None, config: Config) -> Interactions | None:
    """Check held-out interactions, if there are any."""
    if raw is None:
        return None
    return check(raw, config.held_out, implicit=config.train.implicit, section="held_out")


def prepare(raw: DataFrame, config: Config, folder: str) -> Prepared:
    """Check interactions, and build their blocks below ``folder``."""
    return build(check_input(raw, config), config, folder)


def build(interactions: Interactions, config: Config, folder: str) -> Prepared:
    """Build the blocks of checked interactions below ``folder``; reads their table again."""
    with unreadable_is_refused(config.input, "input", writing=True):
        return Prepared(interactions, build_blocks(interactions, config, folder))


def train_version(raw: DataFrame, config: Config, storage: Storage, held_out: DataFrame | None = None) -> ModelVersion:
    """Train on raw interactions, and write the version that the settings name, or one named by the time.

    With raw interactions that are ``held_out``, or with a share of ``raw`` that the settings hold out, training is
    evaluated as it runs.

    Raises
    ------
    ConfigError, InputError, TrainingError
        If the version exists, the interactions cannot be used, or training fails.
    """
    created, tables = datetime.now(timezone.utc), raw_tables(raw, held_out, config)
    version = config.output.version or new_version_name(created)
    with new_version(storage, version) as folder:
        run = _train_into(_Target(storage, folder, version, created), tables, config)
        document = training_manifest(run)
        write_report(storage, folder, document)
        publish(storage, version, document, serve=config.output.publish)
    logger.info("model %s is complete: %s", version, storage.path(folder))
    return open_version(raw.sparkSession, storage.root, version, verified=True)


class _Target(NamedTuple):
    """The version that is written."""

    storage: Storage
    folder: str
    version: str
    created: datetime


def _train_into(target: _Target, tables: RawTables, config: Config) -> TrainingRun:
    """Everything of a version but its manifest and report."""
    phases = Phases()
    interactions = check_input(tables.training, config)
    judged = judged_users(check_held_out(tables.held_out, config), interactions, config)
    phases.end("read and check")
    work = target.storage.path(target.folder, WORK)
    all_rows = with_negatives(interactions, config.train.negatives, f"{work}/negatives")
    if config.train.negatives.per_user:
        phases.end("draw negatives")
    prepared = build(all_rows, config, work)
    phases.end("build blocks")
    blocks, chosen = prepared.blocks, prepared.resolved(config)
    objectives = prepared.objectives(chosen)
    summary = [*describe_automatic(config, chosen, blocks.counts), *describe_objective(chosen, blocks.counts)]
    weights_summary: list[str] = []
    with evaluator_of(judged, blocks, chosen) as evaluator:
        if evaluator is not None:
            phases.end("find users to evaluate")
        trained = _train(target, prepared, chosen, summary, weights_summary, evaluator)
    phases.end("train")
    if trained.kept.metric is not None:
        logger.info("%s", describe_kept(trained.kept, trained.events[-1], config.held_out_metric))
    _write_tables(target, prepared, trained, objectives["items"])
    phases.end("write")
    return TrainingRun(
        version=target.version,
        created=target.created,
        config=chosen,
        automatic=automatic_settings(config),
        counts=prepared.counts,
        objectives=objectives,
        objective_summary=[*summary, *weights_summary],
        last=trained.kept,
        iterations=trained.events[-1].iteration,
        stopped_by=trained.stopped_by,
        degrees={side.name: side.degrees for side in (blocks.users, blocks.items)},
        seconds=phases.seconds,
        spark_version=tables.training.sparkSession.version,
    )


def _train(
    target: _Target,
    prepared: Prepared,
    config: ResolvedConfig,
    summary: list[str],
    weights_summary: list[str],
    evaluator: SampleEvaluator | None,
) -> Trained:
    """Train with events logged and shown; ``weights_summary`` is filled with what the observations weigh."""
    blocks, objectives = prepared.blocks, prepared.objectives(config)
    logger.info(
        "built %d blocks of %s users and %d blocks of %s items from %s observations",
        blocks.users.n_blocks, f"{blocks.users.rows:,}", blocks.items.n_blocks, f"{blocks.items.rows:,}",
        f"{blocks.counts.observations:,}",
    )  # fmt: skip
    for line in summary:
        logger.info("%s", line)
    with event_log(target.storage, target.folder) as log, progress(2 * config.train.max_iter) as show:

        def on_half_iteration(events: list[HalfIteration]) -> None:
            log(events)
            show(events[-1])

        def on_weights(weights: Histogram) -> None:
            weights_summary[:] = describe_weights(weights, objectives, blocks.counts.ratings.mean)
            for line in weights_summary:
                logger.info("%s", line)

        return train(blocks, objectives, config.train, Listeners(on_weights, on_half_iteration, evaluator=evaluator))


def _write_tables(target: _Target, prepared: Prepared, trained: Trained, objective: Objective) -> None:
    """Write factor tables, their Gramians and, where popularity weighs, the weights of items."""
    storage, folder, blocks = target.storage, target.folder, prepared.blocks
    gramians = {
        side.name: write_factors(side, factors, storage.path(folder, table))
        for side, factors, table in (
            (blocks.users, trained.user_factors, "user_factors"),
            (blocks.items, trained.item_factors, "item_factors"),
        )
    }
    trained.unpersist()
    storage.replace(as_json(gramians), folder, GRAMIANS)
    if objective.item_weight.function != "none":
        write_item_weights(blocks.items, objective, storage.path(folder, "item_weights"))
