"""Export items' vectors for a search engine, with the recall that they have. Runs as jobs/train.py does."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

from wals_spark.serving.ann_index import require_faiss
from wals_spark.serving.vector_files import write_export
from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.export import ExportSettings
from wals_spark.spark.item_table import item_table
from wals_spark.spark.model.open import collect_sample, open_model
from wals_spark.spark.session import open_session
from wals_spark.spark.storage import new_folder

logger = logging.getLogger("wals_spark")


def main() -> None:
    """Export as the command line says."""
    settings = parse_settings(ExportSettings, "Write items' vectors, and an index of them, for approximate search.")
    options = settings.export
    if options.index != "none":
        require_faiss()
    with (
        open_session("wals_spark export") as spark,
        tempfile.TemporaryDirectory(prefix="wals_spark-") as local,
        new_folder(spark, settings.output.path) as folder,
    ):
        model = open_model(spark, settings.model.path, settings.model.version)
        users = collect_sample(model.user_factors, options.sample)
        items = item_table(model.item_factors, width=model.manifest["score"]["length"]).opened()
        found = write_export(Path(local), items.ids, items.features, users, options)
        for file in sorted(Path(local).iterdir()):
            folder.copy(file.as_uri(), file.name)
        document = {**found, "model_version": model.version, "settings": settings.as_dict()}
        folder.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "export.json")
    for name, share in found["recall"]["found_by"].items():
        logger.info(
            "recall@%d of the %s, beside exact search, of %d users: %.4f",
            options.k, name, found["recall"]["users"], share,
        )  # fmt: skip
    logger.info("exported %s items of version %s to %s", f"{found['items']:,}", model.version, settings.output.path)


if __name__ == "__main__":
    run(main)
