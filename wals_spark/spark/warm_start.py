"""The stored models that a training starts from, and that its factors are rotated towards."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pyspark.sql import types as T

from wals_spark.run.compatibility import other_objective
from wals_spark.settings.resolved import ResolvedConfig, automatic_settings
from wals_spark.settings.training import SERVED
from wals_spark.spark.model.history import served_version
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.runs import Run
from wals_spark.spark.training.state import WarmStart
from wals_spark.spark.training.stored_blocks import Blocks

logger = logging.getLogger("wals_spark")


def named_model(run: Run, given: ModelVersion | None = None) -> ModelVersion | None:
    """The model that ``train.warm_start`` names, or that is ``given``; None: training starts cold.

    The served version is the one that was served when the run began, also if the run is resumed.

    Raises
    ------
    InputError
        If there is no such version, or it is not complete.
    """
    name, storage = run.config.train.warm_start, run.storage
    if given is not None or not name:
        return given
    if name == SERVED:
        name = run.record.warm_start or served_version(storage)
        if not name:
            logger.info("cold start: no version is served yet")
            return None
    run.note(warm_start=name)
    return open_version(storage.spark, storage.root, name, setting="train.warm_start: output")


def aligned_with(run: Run, given: ModelVersion | None) -> ModelVersion | None:
    """The served version, if trained factors are to be rotated towards it: as when the run began, also if resumed.

    ``given`` is a version that is open already.
    """
    storage = run.storage
    if run.config.train.align == "none":
        return None
    name = run.record.align or served_version(storage)
    if not name:
        return None
    run.note(align=name)
    if given is not None and given.version == name and given.storage.root == storage.root:
        return given
    return open_version(storage.spark, storage.root, name, setting="train.align: output")


def warm_start(run: Run, model: ModelVersion | None, config: ResolvedConfig, blocks: Blocks) -> WarmStart | None:
    """Where the rows to start from are, or None, with the reason in the log, if they are of another objective."""
    if model is None:
        return None
    reasons = other_objective(model.manifest, config, automatic_settings(run.config)) + _other_ids(model, blocks)
    if reasons:
        logger.warning("cold start, not from version %s: %s", model.version, "; ".join(reasons))
        return None
    tables = (model.storage.path(model.folder, f"{side}_factors") for side in ("user", "item"))
    return WarmStart(*tables)


def item_table_to_align_with(model: ModelVersion | None, config: ResolvedConfig, blocks: Blocks) -> str:
    """The path of the items to rotate towards; empty, with the reason in the log, if they have other coordinates."""
    if model is None:
        return ""
    reasons = _other_ids(model, blocks)
    if model.width != config.train.width:
        reasons.append(f"train.rank = {config.train.rank} (it was {model.manifest['rank']})")
    if reasons:
        logger.warning("not aligned with version %s: %s", model.version, "; ".join(reasons))
        return ""
    return model.storage.path(model.folder, "item_factors")


def _other_ids(model: ModelVersion, blocks: Blocks) -> list[str]:
    """The sides whose ids are strings where the model's are numbers, or the other way round."""
    reasons = []
    for side, table in ((blocks.users, model.user_factors), (blocks.items, model.item_factors)):
        before, now = table.schema["id"].dataType, side.id_type
        if isinstance(before, T.StringType) != isinstance(now, T.StringType):
            reasons.append(f"ids of {side.name} are of type {now.simpleString()} (they were {before.simpleString()})")
    return reasons


def describe_warm_start(model: ModelVersion | None, blocks: Blocks, warm_rows: Mapping[str, int]) -> dict[str, Any]:
    """What the manifest says of a warm start: of each side, the rows that are the model's, new ones, and lost ones."""
    if model is None or not warm_rows:
        return {}
    document: dict[str, Any] = {"version": model.version}
    for side in (blocks.users, blocks.items):
        kept, before = warm_rows[side.name], int(model.manifest["counts"][side.name])
        document[side.name] = {"kept": kept, "new": side.rows - kept, "gone": before - kept}
        logger.info(
            "warm start from version %s: %s %s start from their rows in it, %s are new, %s are no longer there",
            model.version, f"{kept:,}", side.name, f"{side.rows - kept:,}", f"{before - kept:,}",
        )  # fmt: skip
    return {"warm_start": document}
