"""Fold users in: solve them anew against a model's items, and write the next version. Runs as jobs/train.py does."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from wals_spark.errors import InputError
from wals_spark.run.manifest import (
    FoldInRun,
    fold_in_manifest,
    new_version_name,
    read_objectives,
    read_training_settings,
)
from wals_spark.settings.command_line import parse_settings, run
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.solvers.gramian import as_json, from_json
from wals_spark.spark import checking as ratings
from wals_spark.spark.model import publish as publishing
from wals_spark.spark.model.open import open_model
from wals_spark.spark.session import open_session
from wals_spark.spark.storage import GRAMIANS, MANIFEST
from wals_spark.spark.training import batch_fold_in as refreshing
from wals_spark.spark.training import build as blocking
from wals_spark.spark.training.rdd import unpersist

logger = logging.getLogger("wals_spark")


def main() -> None:
    """Fold in as the command line says."""
    settings = parse_settings(FoldInSettings, "Solve all users of an input against the items of a model.")
    created = datetime.now(timezone.utc)
    version = settings.output.version or new_version_name(created)
    with open_session("wals_spark fold in") as spark:
        model = open_model(spark, settings.model.path, settings.model.version)
        storage, where = model.storage, model.storage.path(model.folder, MANIFEST)
        trained = read_training_settings(model.manifest, where)
        objective = read_objectives(model.manifest, where)["users"]
        source = trained.as_trained(settings.input)
        gramians = from_json(storage.read_text(model.folder, GRAMIANS))
        with publishing.new_version(storage, version) as folder:
            checked = ratings.check(
                ratings.read(spark, source), source, implicit=trained.train.implicit, decay=trained.decay()
            )
            logger.info("read %s rows of %s", f"{checked.rows:,}", source.path)
            known = refreshing.drop_unknown_items(checked.table, model.user_factors, model.item_factors)
            rows = known.count()
            logger.info("left out %s rows of items that the model does not know", f"{checked.rows - rows:,}")
            if not rows:
                raise InputError(
                    f"input.path = {source.path}: none of its items is one of the model's, version {model.version}"
                )
            blocks = blocking.build_blocks(
                spark,
                known,
                rows=rows,
                duplicates=source.duplicates,
                work=storage.path(folder, publishing.WORK),
                user_blocks=trained.train.user_blocks,
                item_blocks=trained.train.item_blocks,
            )
            has_weights = objective.item_weight.function != "none"
            factors = refreshing.fold_in_users(
                blocks.users,
                blocks.items,
                block_of_bucket=blocks.block_of_bucket,
                item_factors=storage.path(model.folder, "item_factors"),
                item_weights=storage.path(model.folder, "item_weights") if has_weights else None,
                gramian=gramians["items"],
                objective=objective,
            )
            table = storage.path(folder, "user_factors")
            users, gramians["users"] = blocks.users.rows, publishing.write_factors(spark, blocks.users, factors, table)
            unpersist(factors)
            if settings.fold_in.keep_users:
                refreshing.others(model.user_factors, known).write.mode("append").parquet(table)
                users, gramians["users"] = publishing.gramian_of(spark.read.parquet(table))
            for name in ("item_factors", "item_weights")[: 1 + has_weights]:
                storage.copy(storage.path(model.folder, name), folder, name)
            storage.write_text(as_json(gramians), folder, GRAMIANS)
            text = fold_in_manifest(
                model.manifest,
                FoldInRun(
                    version=version,
                    created=created,
                    counts={
                        "users": users,
                        "items": model.manifest["counts"]["items"],
                        "observations": blocks.observations,
                        "duplicates_merged": blocks.merged,
                        "rows_dropped": checked.dropped,
                        "rows_of_unknown_items": checked.rows - rows,
                    },
                    settings=settings.as_dict(),
                    spark_version=spark.version,
                ),
            )
            publishing.publish(storage, folder, text, current=version if settings.output.publish else None)
            logger.info(
                "version %s is complete: %s users, %s of them folded in, and the items of %s: %s",
                version, f"{users:,}", f"{blocks.users.rows:,}", model.version, storage.path(folder),
            )  # fmt: skip


if __name__ == "__main__":
    run(main)
