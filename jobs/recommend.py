"""Recommend: the best items for users, users for items, or what is similar, as a table. Runs as jobs/train.py does."""

from __future__ import annotations

import logging
from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.errors import InputError
from wals_spark.run.manifest import read_objectives, read_training_settings
from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.recommend import RecommendSettings
from wals_spark.solvers.gramian import from_json
from wals_spark.spark import checking as ratings
from wals_spark.spark import recommend as recommending
from wals_spark.spark.histories import in_type_of
from wals_spark.spark.item_table import item_table
from wals_spark.spark.model.open import Model, open_model
from wals_spark.spark.session import open_session
from wals_spark.spark.storage import GRAMIANS, new_folder

logger = logging.getLogger("wals_spark")


def main() -> None:
    """Recommend as the command line says."""
    settings = parse_settings(RecommendSettings, "Write the best items for users, or the other way round, as a table.")
    chosen, mode = settings.recommend, settings.mode
    with open_session("wals_spark recommend") as spark, new_folder(spark, settings.output.path) as folder:
        model = open_model(spark, settings.model.path, settings.model.version)
        factors = {"user": model.user_factors, "item": model.item_factors}
        of, among = factors[mode.query], factors[mode.result]
        ids = {
            section: ratings.read_ids(spark, table, of if section == "queries" else among, section=section)
            for section, table in settings.id_tables.items()
        }
        served = recommending.served(of, ids.get("queries"))
        logger.info("%s %ss of model %s", f"{served.known:,}", mode.query, model.version)
        if served.unknown:
            logger.warning("%s %ss are not in the model", f"{served.unknown:,}", mode.query)
        popular = chosen.cold_start == "popular" and served.unknown > 0
        if not served.known and not popular:
            raise InputError(f"queries.path = {settings.queries.path}: none of its ids is a {mode.query} of the model")

        catalogue = recommending.candidates(among, allowed=ids.get("allowed"), blocked=ids.get("blocked"))
        width = model.manifest["rank"] if mode.cosine else model.manifest["score"]["length"]
        table = item_table(catalogue, width=width, unit_length=mode.cosine)
        recommending.refuse_small_catalogue(table.rows, chosen.k, mode.result)
        pairs = _interactions(spark, settings, model) if settings.needs_interactions else None
        reasons = _explanation_task(spark, chosen.because, model) if chosen.because else None

        task = recommending.RankTask(table, chosen.k, mode, chosen.exclude_seen, reasons)
        rows = recommending.recommend(served.queries, task, n_queries=served.known, pairs=pairs)
        if popular and pairs is not None:
            by_users = item_table(recommending.popularity(pairs, catalogue), width=1)
            strangers = recommending.without_factors(ids["queries"], of)
            task = replace(task, candidates=by_users, reasons=None)
            fallback = recommending.recommend(strangers, task, n_queries=served.unknown, pairs=pairs)
            fallback = fallback.withColumn("source", F.lit("popular"))
            rows = rows.withColumn("source", F.lit("model")).unionByName(fallback, allowMissingColumns=True)
        spark.sparkContext.setJobDescription("rank and write")
        rows.write.parquet(folder.path())
        logger.info("%s rows: %s", f"{spark.read.parquet(folder.path()).count():,}", settings.output.path)


def _interactions(spark: SparkSession, settings: RecommendSettings, model: Model) -> DataFrame:
    """The input, its rows as they were meant in training, its ids as the model has them."""
    trained = read_training_settings(model.manifest, model.folder)
    source = settings.interactions(trained)
    raw = ratings.read(spark, source)
    pairs = ratings.check(raw, source, implicit=trained.train.implicit, decay=settings.decay(trained)).table
    pairs = in_type_of(pairs, "user", model.user_factors, setting=f"input.user = {source.user}")
    return in_type_of(pairs, "item", model.item_factors, setting=f"input.item = {source.item}")


def _explanation_task(spark: SparkSession, n: int, model: Model) -> recommending.ExplanationTask:
    """What tasks need of the model to say where a score comes from."""
    objective = read_objectives(model.manifest, model.folder)["users"]
    if objective.nonnegative:
        raise InputError("recommend.because: a score of non-negative factors is no sum over the user's history")
    weighted = objective.item_weight.function != "none"
    return recommending.explanation_task(
        model.item_factors,
        spark.read.parquet(model.storage.path(model.folder, "item_weights")) if weighted else None,
        n=n,
        objective=objective,
        gramian=from_json(model.storage.read_text(model.folder, GRAMIANS))["items"],
        duplicates=model.manifest["settings"]["input"]["duplicates"],
    )


if __name__ == "__main__":
    run(main)
