"""Batch fold-in: solves the users of new interactions against the items of a model, and writes the next version."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

import msgspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.errors import InputError
from wals_spark.run.manifest import FoldInRun, fold_in_manifest, new_version_name
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.tables import Input
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.checking import Interactions
from wals_spark.spark.fingerprint import fingerprint
from wals_spark.spark.lease import sole_writer
from wals_spark.spark.model.factor_tables import gramian_of, write_factors
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.publish import WORK, new_version, publish
from wals_spark.spark.prepared import build, check_input
from wals_spark.spark.reading import read
from wals_spark.spark.storage import GRAMIANS, Storage
from wals_spark.spark.training.batch_fold_in import drop_unknown_items, fold_in_users, users_without_interactions
from wals_spark.spark.training.rdd import unpersist
from wals_spark.spark.training.stored_blocks import Blocks

logger = logging.getLogger("wals_spark")


class FoldInTarget(NamedTuple):
    """Where a fold-in writes its version, and whether that becomes the served one.

    A storage that no other run can know need not be held ``exclusive``.
    """

    storage: Storage
    version: str = ""
    serve: bool = True
    exclusive: bool = True


def run_fold_in(spark: SparkSession, settings: FoldInSettings) -> None:
    """Fold the users of the input into a stored model, as a new version beside the old one."""
    model = open_version(spark, settings.model.path, settings.model.version)
    config = fold_in_config(model, settings.input)
    target = FoldInTarget(model.storage, settings.output.version, settings.output.publish)
    fold_in_version(model, read(spark, config.input), config, target, settings=settings.shown())


def fold_in_config(model: ModelVersion, source: Input) -> Config:
    """The settings that a model was trained with, for interactions that ``source`` describes."""
    trained = model.config
    return msgspec.structs.replace(trained, input=trained.as_trained(source))


def fold_in_version(
    model: ModelVersion, raw: DataFrame, config: Config, target: FoldInTarget, *, settings: dict[str, Any]
) -> ModelVersion:
    """Solve the users of raw interactions against a model's items, and write a version with both.

    With ``settings`` ``fold_in.keep_users``, users without interactions keep their rows. ``settings`` go to the
    manifest.

    Raises
    ------
    ConfigError, InputError
        If the version exists, or the interactions cannot be used or have no item of the model.
    """
    created, storage = datetime.now(timezone.utc), target.storage
    version = target.version or new_version_name(created)
    with (
        sole_writer(storage, version, exclusive=target.exclusive) as guard,
        new_version(storage, version) as folder,
    ):
        checked = check_input(raw, config)
        known = _of_known_items(model, checked, config)
        prepared = build(known, config, storage.path(folder, WORK))
        keep_users = bool(settings.get("fold_in", {}).get("keep_users"))
        others = users_without_interactions(model.user_factors, known.table) if keep_users else None
        users = _write_tables(model, prepared.blocks, storage, folder, others)
        counts = {
            **prepared.counts,
            "users": users,
            "items": int(model.manifest["counts"]["items"]),
            "rows_of_unknown_items": checked.rows - known.rows,
        }
        run = FoldInRun(version, created, counts, settings, model.spark.version)
        publish(storage, version, fold_in_manifest(model.manifest, run), to_serve=target.serve, guard=guard)
    logger.info(
        "version %s is complete: %s users, %s of them folded in, and the items of %s: %s",
        version, f"{users:,}", f"{prepared.blocks.users.rows:,}", model.version, storage.path(folder),
    )  # fmt: skip
    return open_version(model.spark, storage.root, version, verified=True)


def _of_known_items(model: ModelVersion, checked: Interactions, config: Config) -> Interactions:
    """The interactions whose item the model has."""
    table = drop_unknown_items(checked.table, model.user_factors, model.item_factors)
    counts = (F.count("*").alias("rows"), F.sum(fingerprint(checked.hashed)).alias("fingerprint"))
    (row,) = table.agg(*counts).collect()
    rows = row["rows"]
    logger.info("left out %s rows of items that the model does not know", f"{checked.rows - rows:,}")
    if not rows:
        raise InputError(
            f"{config.input.named('input')}: none of the items is one of the model's, version {model.version}"
        )
    return replace(checked, table=table, rows=rows, fingerprint=row["fingerprint"])


def _write_tables(model: ModelVersion, blocks: Blocks, storage: Storage, folder: str, others: DataFrame | None) -> int:
    """Write the users that are folded in, and ``others``, and copy the items of the model; the number of users."""
    objective, gramians = model.user_objective, model.gramians
    has_weights = objective.item_weight.function != "none"
    factors = fold_in_users(
        blocks,
        item_factors=model.storage.path(model.folder, "item_factors"),
        item_weights=model.storage.path(model.folder, "item_weights") if has_weights else None,
        gramian=gramians["items"],
        objective=objective,
    )
    table = storage.path(folder, "user_factors")
    users, gramians["users"] = blocks.users.rows, write_factors(blocks.users, factors, table)
    unpersist(factors)
    if others is not None:
        others.write.mode("append").parquet(table)
        users, gramians["users"] = gramian_of(model.spark.read.parquet(table))
    for name in ("item_factors", "item_weights")[: 1 + has_weights]:
        storage.copy(model.storage.path(model.folder, name), folder, name)
    storage.replace(as_json(gramians), folder, GRAMIANS)
    return users
