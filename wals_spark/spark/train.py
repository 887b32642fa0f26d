"""Trains a model: opens a run, prepares its blocks, trains, and writes a version. All training of models goes here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from wals_spark.objective.automatic import DataCounts
from wals_spark.run.events import HalfIteration
from wals_spark.run.manifest import TrainingRun, training_manifest
from wals_spark.run.objective_summary import describe_automatic, describe_objective
from wals_spark.run.phases import Phases
from wals_spark.settings.resolved import ResolvedConfig, automatic_settings
from wals_spark.settings.train import Config
from wals_spark.spark.model.open import ModelVersion, open_version, unfinished_version
from wals_spark.spark.model.publish import new_version, publish, version_folder
from wals_spark.spark.model.report import write_report
from wals_spark.spark.prepared import CheckedTables, Prepared, check_tables, prepare_run
from wals_spark.spark.reading import read
from wals_spark.spark.runs import Run, opened_run
from wals_spark.spark.sample_evaluation import evaluator_of, raw_tables
from wals_spark.spark.storage import Storage
from wals_spark.spark.trained_tables import TrainedTables
from wals_spark.spark.warm_start import (
    aligned_with,
    describe_warm_start,
    item_table_to_align_with,
    named_model,
    warm_start,
)

logger = logging.getLogger("wals_spark")


@dataclass(frozen=True)
class Additions:
    """What a caller adds to a training.

    Attributes
    ----------
    warm_start
        The model to start from, in place of the one that the settings name.
    facts
        Called before a version is complete, with that version; what its manifest says beside the usual.
    """

    warm_start: ModelVersion | None = None
    facts: Callable[[ModelVersion], Mapping[str, Any]] = lambda _: {}


NOTHING_MORE = Additions()
NO_MORE: Mapping[str, Any] = MappingProxyType({})


def run_train(spark: SparkSession, config: Config) -> None:
    """Train on the interactions that the settings name, and write a version of the model."""

    def tables() -> CheckedTables:
        held_out = read(spark, config.held_out, section="held_out") if config.held_out.path else None
        return check_tables(raw_tables(read(spark, config.input), held_out, config), config)

    storage = Storage(spark, config.output.path)
    with opened_run(spark, config, storage) as run:
        train_in(run, tables)


def train_version(
    raw: DataFrame,
    config: Config,
    storage: Storage,
    held_out: DataFrame | None = None,
    *,
    warm_start: ModelVersion | None = None,
    exclusive: bool = True,
) -> ModelVersion:
    """Train on raw interactions, and write the version that the settings name, or one named by the time.

    With raw interactions that are ``held_out``, or with a share of ``raw`` that the settings hold out, training is
    evaluated as it runs. With a model as ``warm_start``, ids that it has start from their rows in it. A storage that no
    other run can know need not be held ``exclusive``.

    Raises
    ------
    ConfigError, InputError, TrainingError
        If the version exists, the interactions cannot be used, or training fails.
    HeldError
        If another run writes there.
    """
    with opened_run(raw.sparkSession, config, storage, exclusive=exclusive) as run:
        return train_in(
            run, lambda: check_tables(raw_tables(raw, held_out, config), config), Additions(warm_start=warm_start)
        )


def train_in(run: Run, tables: Callable[[], CheckedTables], additions: Additions = NOTHING_MORE) -> ModelVersion:
    """Train a run's version and write it, or go on where an earlier attempt died; the complete version."""
    spark, storage, folder = run.storage.spark, run.storage, version_folder(run.version)
    if run.is_complete:
        logger.info("run %s is done: model %s is complete: %s", run.name, run.version, storage.path(folder))
        return open_version(spark, storage.root, run.version)
    model = named_model(run, additions.warm_start)
    target = aligned_with(run, model)
    with new_version(storage, run.version):
        phases = Phases()
        prepared = prepare_run(run, tables, phases)
        document = training_manifest(train_into(run, prepared, phases, model, target))
        document |= additions.facts(unfinished_version(storage, run.version, document))
        write_report(storage, folder, document)
        run.step("publish")
        publish(storage, run.version, document, to_serve=run.config.output.publish, guard=run.check)
    logger.info("model %s is complete: %s", run.version, storage.path(folder))
    return open_version(spark, storage.root, run.version, verified=True)


def train_into(
    run: Run,
    prepared: Prepared,
    phases: Phases,
    model: ModelVersion | None = None,
    target: ModelVersion | None = None,
) -> TrainingRun:
    """Everything of a version but its manifest and report; starts from ``model``, and is aligned with ``target``."""
    config, blocks = run.config, prepared.blocks
    chosen = prepared.resolved(config)
    start = warm_start(run, model, chosen, blocks)
    if start is not None:
        chosen = chosen.as_warm(config)
    align_with = item_table_to_align_with(target, chosen, blocks)
    tables_of_version = TrainedTables(run, prepared, chosen, start, align_with=align_with)
    summary = describe(config, chosen, blocks.counts)
    with evaluator_of(prepared.judged, blocks, chosen) as evaluator:
        if evaluator is not None:
            phases.end("find users to evaluate")
        trained = tables_of_version.written(evaluator, phases)
    in_words = [*summary, *tables_of_version.weights_summary]
    outcome = Outcome(trained.kept, trained.events[-1].iteration, trained.stopped_by, in_words)
    more = {**describe_warm_start(model, blocks, trained.warm_rows), **tables_of_version.aligned(target)}
    return training_run(run, prepared, chosen, outcome, phases, more)


class Outcome(NamedTuple):
    """How a training ended: with which half-iteration, after how many iterations, and why; and all of it in words."""

    kept: HalfIteration
    iterations: int
    stopped_by: str
    in_words: Sequence[str]


def describe(config: Config, chosen: ResolvedConfig, counts: DataCounts) -> list[str]:
    """What is minimised, in words, which are logged."""
    summary = [*describe_automatic(config, chosen, counts), *describe_objective(chosen, counts)]
    for line in summary:
        logger.info("%s", line)
    return summary


def training_run(
    run: Run,
    prepared: Prepared,
    chosen: ResolvedConfig,
    outcome: Outcome,
    phases: Phases,
    more: Mapping[str, Any] = NO_MORE,
) -> TrainingRun:
    """What the manifest says of a training that is over."""
    return TrainingRun(
        version=run.version,
        created=run.created,
        config=chosen,
        automatic=automatic_settings(run.config),
        counts=prepared.counts,
        objectives=prepared.objectives(chosen),
        objective_summary=outcome.in_words,
        last=outcome.kept,
        iterations=outcome.iterations,
        stopped_by=outcome.stopped_by,
        degrees={side.name: side.degrees for side in (prepared.blocks.users, prepared.blocks.items)},
        seconds=phases.seconds,
        spark_version=run.storage.spark.version,
        run=run.name,
        more=more,
    )
