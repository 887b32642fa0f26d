"""Trains a model: opens a run, prepares its blocks, trains, and writes a version. All training of models goes here."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from wals_spark.arrays.histogram import Histogram
from wals_spark.objective.objective import Objective
from wals_spark.run.events import HalfIteration
from wals_spark.run.faults import fault_point
from wals_spark.run.manifest import TrainingRun, training_manifest
from wals_spark.run.objective_summary import describe_automatic, describe_objective, describe_weights
from wals_spark.run.phases import Phases
from wals_spark.run.progress import describe_kept, progress
from wals_spark.settings.resolved import ResolvedConfig, automatic_settings
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.model.factor_tables import write_factors, write_item_weights
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.publish import event_log, new_version, publish, version_folder
from wals_spark.spark.model.report import write_report
from wals_spark.spark.prepared import Prepared, prepare_run
from wals_spark.spark.reading import read
from wals_spark.spark.runs import Run, opened_run
from wals_spark.spark.sample_evaluation import RawTables, SampleEvaluator, evaluator_of, raw_tables
from wals_spark.spark.storage import GRAMIANS, Storage
from wals_spark.spark.training.recovery import MAX_ATTEMPTS, is_lost_with_executor, train
from wals_spark.spark.training.state import Listeners, Trained

logger = logging.getLogger("wals_spark")


def run_train(spark: SparkSession, config: Config) -> None:
    """Train on the interactions that the settings name, and write a version of the model."""

    def tables() -> RawTables:
        held_out = read(spark, config.held_out, section="held_out") if config.held_out.path else None
        return raw_tables(read(spark, config.input), held_out, config)

    _train(spark, tables, config, Storage(spark, config.output.path))


def train_version(
    raw: DataFrame,
    config: Config,
    storage: Storage,
    held_out: DataFrame | None = None,
    *,
    exclusive: bool = True,
) -> ModelVersion:
    """Train on raw interactions, and write the version that the settings name, or one named by the time.

    With raw interactions that are ``held_out``, or with a share of ``raw`` that the settings hold out, training is
    evaluated as it runs. A storage that no other run can know need not be held ``exclusive``.

    Raises
    ------
    ConfigError, InputError, TrainingError
        If the version exists, the interactions cannot be used, or training fails.
    HeldError
        If another run writes there.
    """
    spark = raw.sparkSession
    return _train(spark, lambda: raw_tables(raw, held_out, config), config, storage, exclusive=exclusive)


def _train(
    spark: SparkSession,
    tables: Callable[[], RawTables],
    config: Config,
    storage: Storage,
    *,
    exclusive: bool = True,
) -> ModelVersion:
    with opened_run(spark, config, storage, exclusive=exclusive) as run:
        folder = version_folder(run.version)
        if run.is_complete:
            logger.info("run %s is done: model %s is complete: %s", run.name, run.version, storage.path(folder))
            return open_version(spark, storage.root, run.version)
        with new_version(storage, run.version):
            trained = _train_into(run, tables)
            document = training_manifest(trained)
            write_report(storage, folder, document)
            run.step("publish")
            publish(storage, run.version, document, to_serve=config.output.publish, guard=run.check)
    logger.info("model %s is complete: %s", run.version, storage.path(folder))
    return open_version(spark, storage.root, run.version, verified=True)


def _train_into(run: Run, tables: Callable[[], RawTables]) -> TrainingRun:
    """Everything of a version but its manifest and report."""
    phases, config = Phases(), run.config
    prepared = prepare_run(run, tables, phases)
    blocks, chosen = prepared.blocks, prepared.resolved(config)
    summary = [*describe_automatic(config, chosen, blocks.counts), *describe_objective(chosen, blocks.counts)]
    weights_summary: list[str] = []
    with evaluator_of(prepared.judged, blocks, chosen) as evaluator:
        if evaluator is not None:
            phases.end("find users to evaluate")
        trained = _trained_and_written(run, prepared, chosen, summary, weights_summary, evaluator, phases)
    return TrainingRun(
        version=run.version,
        created=run.created,
        config=chosen,
        automatic=automatic_settings(config),
        counts=prepared.counts,
        objectives=prepared.objectives(chosen),
        objective_summary=[*summary, *weights_summary],
        last=trained.kept,
        iterations=trained.events[-1].iteration,
        stopped_by=trained.stopped_by,
        degrees={side.name: side.degrees for side in (blocks.users, blocks.items)},
        seconds=phases.seconds,
        spark_version=run.storage.spark.version,
        run=run.name,
    )


def _trained_and_written(
    run: Run,
    prepared: Prepared,
    config: ResolvedConfig,
    summary: list[str],
    weights_summary: list[str],
    evaluator: SampleEvaluator | None,
    phases: Phases,
) -> Trained:
    """Train and write the tables; again, from the last checkpoint, if an executor takes the factors with it."""
    for line in summary:
        logger.info("%s", line)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        trained = _trained(run, prepared, config, weights_summary, evaluator)
        phases.end("train")
        fault_point("after_training")
        if trained.kept.metric is not None:
            logger.info("%s", describe_kept(trained.kept, trained.events[-1], config.held_out_metric))
        run.step("write")
        try:
            _write_tables(run, prepared, trained, prepared.objectives(config)["items"])
        except Exception as error:
            trained.unpersist()
            if attempt == MAX_ATTEMPTS or not is_lost_with_executor(error):
                raise
            logger.warning("factors were lost with an executor while tables were written; they are trained again")
        else:
            phases.end("write")
            return trained
    raise AssertionError("unreachable")


def _trained(
    run: Run,
    prepared: Prepared,
    config: ResolvedConfig,
    weights_summary: list[str],
    evaluator: SampleEvaluator | None,
) -> Trained:
    """Train with events logged and shown; ``weights_summary`` is filled with what the observations weigh."""
    blocks, objectives = prepared.blocks, prepared.objectives(config)
    logger.info(
        "%d blocks of %s users and %d blocks of %s items from %s observations",
        blocks.users.n_blocks, f"{blocks.users.rows:,}", blocks.items.n_blocks, f"{blocks.items.rows:,}",
        f"{blocks.counts.observations:,}",
    )  # fmt: skip
    folder = version_folder(run.version)
    with event_log(run.storage, folder, run.check) as log, progress(2 * config.train.max_iter) as show:

        def on_half_iteration(events: list[HalfIteration]) -> None:
            log(events)
            show(events[-1])
            run.step(f"half-iteration {len(events)}/{events[-1].planned}", now=False)

        def on_weights(weights: Histogram) -> None:
            weights_summary[:] = describe_weights(weights, objectives, blocks.counts.ratings.mean)
            for line in weights_summary:
                logger.info("%s", line)

        listeners = Listeners(on_weights, on_half_iteration, evaluator=evaluator)
        return train(blocks, objectives, config.train, listeners, run.checkpoints())


def _write_tables(run: Run, prepared: Prepared, trained: Trained, objective: Objective) -> None:
    """Write factor tables, their Gramians and, where popularity weighs, the weights of items."""
    storage, folder, blocks = run.storage, version_folder(run.version), prepared.blocks
    gramians = {}
    for side, factors, table in (
        (blocks.users, trained.user_factors, "user_factors"),
        (blocks.items, trained.item_factors, "item_factors"),
    ):
        run.check()
        storage.delete_tree(folder, table)  # of an attempt that lost the factors
        gramians[side.name] = write_factors(side, factors, storage.path(folder, table))
        fault_point(f"after_{table}")
    trained.unpersist()
    storage.replace(as_json(gramians), folder, GRAMIANS)
    if objective.item_weight.function != "none":
        write_item_weights(blocks.items, objective, storage.path(folder, "item_weights"))
