"""Evaluate a model on test interactions, beside popularity. Runs under spark-submit and under plain python."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

from pyspark.sql import DataFrame, SparkSession

from wals_spark.evaluation.results import METRICS_FILE
from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.tables import Input
from wals_spark.spark import checking as ratings
from wals_spark.spark import evaluate as evaluating
from wals_spark.spark import held_out
from wals_spark.spark.histories import partitions
from wals_spark.spark.model import report as reporting
from wals_spark.spark.model.open import open_model
from wals_spark.spark.session import open_session
from wals_spark.spark.storage import Storage

logger = logging.getLogger("wals_spark")


def main() -> None:
    """Evaluate as the command line says."""
    settings = parse_settings(EvaluateSettings, "Judge a model by where it ranks held-out interactions of users.")
    with open_session("wals_spark evaluate") as spark:
        model = open_model(spark, settings.model.path, settings.model.version)
        facts, cores = model.manifest, spark.sparkContext.defaultParallelism
        implicit = facts["settings"]["train"]["implicit"]
        with held_out.gathered(
            clean(spark, settings.test, "test"),
            clean(spark, settings.input, "input", implicit=implicit) if settings.input.path else None,
            clean(spark, settings.candidates, "candidates") if settings.candidates.path else None,
            n_partitions=partitions(facts["counts"]["users"], facts["counts"]["items"], cores),
            duplicates=settings.test.duplicates,
            head_share=settings.evaluate.head_share,
            seed=settings.evaluate.seed,
        ) as tests:
            width = facts["score"]["length"]
            evaluation = evaluating.evaluate(
                tests, model.user_factors, model.item_factors, width=width, protocol=settings.protocol
            )
        for sentence in evaluation.caveats:
            logger.warning("%s", sentence)
        result = evaluation.document(
            created=datetime.now(timezone.utc),
            model={"path": model.storage.root, "version": model.version},
            protocol=settings.facts,
        )
        output = Storage(spark, settings.output.path or model.storage.path(model.folder))
        output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", METRICS_FILE)
        reporting.write_report(model.storage, model.folder, model.manifest, result)
        users, items = (f"{evaluation.counts[name]:,}" for name in ("users", "items"))
        print(f"\nModel {model.version}, {users} users evaluated on {items} items\n\n{evaluation}\n")
        logger.info("%s is written", output.path(METRICS_FILE))


def clean(spark: SparkSession, settings: Input, section: str, *, implicit: bool = True) -> DataFrame:
    """The interactions of a section, read and checked."""
    found = ratings.check(ratings.read(spark, settings, section=section), settings, implicit=implicit, section=section)
    logger.info("read %s rows of %s.path = %s", f"{found.rows:,}", section, settings.path)
    return found.table


if __name__ == "__main__":
    run(main)
