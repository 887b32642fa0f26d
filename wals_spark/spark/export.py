"""Exports the item vectors of a model for a search engine, as files of one machine that are copied to storage."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

from wals_spark.serving.ann_index import require_faiss
from wals_spark.serving.vector_files import write_export
from wals_spark.settings.export import ExportSettings
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.model.exports import note_export
from wals_spark.spark.model.open import collect_sample, open_version
from wals_spark.spark.storage import Storage, new_folder

logger = logging.getLogger("wals_spark")


def require_index_library(settings: ExportSettings) -> None:
    """Refuse to export an index without the library that builds it."""
    if settings.export.index != "none":
        require_faiss()


def run_export(spark: SparkSession, settings: ExportSettings) -> None:
    """Export the items of a stored model, and log the recall that the files have."""
    options = settings.export
    with (
        tempfile.TemporaryDirectory(prefix="wals_spark-") as local,
        new_folder(spark, settings.output.path) as folder,
    ):
        model = open_version(spark, settings.model.path, settings.model.version)
        users = collect_sample(model.user_factors, options.sample)
        sent = SentTables()
        items = sent.table(model.item_factors, width=model.width).opened()
        summary = write_export(Path(local), items.ids, items.features, users, options)
        for file in sorted(Path(local).iterdir()):
            folder.copy(file.as_uri(), file.name)
        document = {**summary, "model_version": model.version, "settings": settings.shown()}
        folder.replace(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "export.json")
    note_export(model, Storage(spark, settings.output.path).root, "vectors")
    for name, share in summary["recall"]["found_by"].items():
        logger.info(
            "recall@%d of the %s against exact search, over %d users: %.4f",
            options.k, name, summary["recall"]["users"], share,
        )  # fmt: skip
    logger.info("exported %s items of version %s to %s", f"{summary['items']:,}", model.version, settings.output.path)
