"""Train a model: read, check, lay out, train, publish. Runs under spark-submit and under plain python."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

from wals_spark.arrays.histogram import Histogram
from wals_spark.run.events import HalfIteration
from wals_spark.run.manifest import TrainingRun, new_version_name, training_manifest
from wals_spark.run.objective_summary import describe_objective, describe_weights
from wals_spark.run.phases import Phases
from wals_spark.run.progress import progress
from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import as_json
from wals_spark.spark import checking as ratings
from wals_spark.spark.model import publish as publishing
from wals_spark.spark.model import report as reporting
from wals_spark.spark.session import open_session
from wals_spark.spark.storage import GRAMIANS, Storage
from wals_spark.spark.training import build as blocking
from wals_spark.spark.training import loop as training

logger = logging.getLogger("wals_spark")


def main() -> None:
    """Train as the command line says."""
    config = parse_settings(Config, "Train weighted ALS on interactions and write the factor tables.")
    objective = describe_objective(config)
    for line in objective:
        logger.info("%s", line)
    explanation = [*objective]
    created = datetime.now(timezone.utc)
    version = config.output.version or new_version_name(created)
    phases = Phases()
    with open_session("wals_spark train") as spark:
        phases.end("start Spark")
        storage = Storage(spark, config.output.path)
        with publishing.new_version(storage, version) as folder:
            checked = ratings.check(
                ratings.read(spark, config.input), config.input, implicit=config.train.implicit, decay=config.decay()
            )
            phases.end("read and check")
            logger.info("read %s rows of %s", f"{checked.rows:,}", config.input.path)
            blocks = blocking.build_blocks(
                spark,
                checked.table,
                rows=checked.rows,
                duplicates=config.input.duplicates,
                work=storage.path(folder, publishing.WORK),
                item_costs=checked.item_costs,
                user_blocks=config.train.user_blocks,
                item_blocks=config.train.item_blocks,
                heavy_row_threshold=config.train.heavy_row_threshold,
            )
            phases.end("lay out")
            logger.info(
                "laid out %s users in %d blocks, %s items in %d blocks, %s observations",
                f"{blocks.users.rows:,}", blocks.users.n_blocks, f"{blocks.items.rows:,}", blocks.items.n_blocks,
                f"{blocks.observations:,}",
            )  # fmt: skip
            objectives = config.objectives(
                users=blocks.users.rows,
                items=blocks.items.rows,
                mean_rating=blocks.mean_rating,
                largest_item_count=blocks.largest_item_count,
            )
            with publishing.event_log(storage, folder) as keep, progress(2 * config.train.max_iter) as show:

                def report(events: list[HalfIteration]) -> None:
                    keep(events)
                    show(events[-1])

                def describe(weights: Histogram) -> None:
                    lines = describe_weights(weights, objectives, blocks.mean_rating)
                    explanation[len(objective) :] = lines  # again, if training began again
                    for line in lines:
                        logger.info("%s", line)

                trained = training.train(
                    spark.sparkContext, blocks.users, blocks.items, config.train, objectives, report, describe
                )
            phases.end("train")
            gramians = {
                side.name: publishing.write_factors(spark, side, factors, storage.path(folder, table))
                for side, factors, table in (
                    (blocks.users, trained.user_factors, "user_factors"),
                    (blocks.items, trained.item_factors, "item_factors"),
                )
            }
            storage.write_text(as_json(gramians), folder, GRAMIANS)
            if config.confidence.item_weight != "none":
                publishing.write_item_weights(
                    spark, blocks.items, objectives["items"], storage.path(folder, "item_weights")
                )
            phases.end("write")
            text = training_manifest(
                TrainingRun(
                    version=version,
                    created=created,
                    config=config,
                    counts={
                        "users": blocks.users.rows,
                        "items": blocks.items.rows,
                        "observations": blocks.observations,
                        "duplicates_merged": blocks.merged,
                        "rows_dropped": checked.dropped,
                    },
                    objectives=objectives,
                    last=trained.events[-1],
                    stopped_by=trained.stopped_by,
                    spark_version=spark.version,
                    degrees={side.name: side.degrees for side in (blocks.users, blocks.items)},
                    seconds=phases.seconds,
                    objective_summary=explanation,
                )
            )
            reporting.write_report(storage, folder, json.loads(text))
            publishing.publish(storage, folder, text, current=version if config.output.publish else None)
            logger.info("model %s is complete: %s", version, storage.path(folder))


if __name__ == "__main__":
    run(main)
