"""Opens a stored version of a model: its manifest, and its factor tables as DataFrames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.arrays.types import Float32Array, Float64Array
from wals_spark.errors import InputError
from wals_spark.objective.objective import Objective
from wals_spark.run.manifest import read_manifest, read_objectives, read_training_settings
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import from_json
from wals_spark.spark.model.publish import version_folder
from wals_spark.spark.storage import CURRENT, GRAMIANS, MANIFEST, Storage


@dataclass(frozen=True)
class ModelVersion:
    """A complete version: `user_factors` and `item_factors` have columns ``id`` and ``features``.

    ``folder`` is its place below the root of ``storage``, ``manifest`` what `manifest.read_manifest` returns.
    """

    storage: Storage
    version: str
    folder: str
    manifest: dict[str, Any]
    user_factors: DataFrame
    item_factors: DataFrame

    @property
    def spark(self) -> SparkSession:
        """The session that the tables belong to."""
        return self.user_factors.sparkSession

    @property
    def manifest_path(self) -> str:
        """Where the manifest is, for messages."""
        return self.storage.path(self.folder, MANIFEST)

    @property
    def config(self) -> Config:
        """The settings that the model was trained with."""
        return read_training_settings(self.manifest, self.manifest_path)

    @property
    def user_objective(self) -> Objective:
        """What was minimised for the rows of users."""
        return read_objectives(self.manifest, self.manifest_path)["users"]

    @property
    def gramians(self) -> dict[str, Float64Array]:
        """The Gramians of ``users`` and ``items``."""
        return from_json(self.storage.read_text(self.folder, GRAMIANS))

    @property
    def width(self) -> int:
        """The length of ``features``: the rank, or two more with biases."""
        return int(self.manifest["score"]["length"])

    @property
    def item_weights(self) -> DataFrame | None:
        """The weights of items (id, weight), where popularity weighs."""
        if self.user_objective.item_weight.function == "none":
            return None
        return self.spark.read.parquet(self.storage.path(self.folder, "item_weights"))


def open_version(spark: SparkSession, root: str, version: str = "") -> ModelVersion:
    """Open a version of the model below ``root``; none named: the served one.

    Raises
    ------
    InputError
        If there is no such version, or its folder holds no manifest, and so no complete model.
    """
    storage = Storage(spark, root)
    if not version:
        if not storage.exists(CURRENT):
            raise InputError(
                f"model.path = {root}: there is no {CURRENT} in it, so no version is served; name one with "
                "model.version, or give the folder that output.path named in training"
            )
        version = storage.read_text(CURRENT).strip()
    folder = version_folder(version)
    if not storage.exists(folder, MANIFEST):
        raise InputError(
            f"{storage.path(folder)} holds no {MANIFEST}, so it is no complete model: its training has not ended, or "
            "model.path or model.version names another folder"
        )
    manifest = read_manifest(storage.read_text(folder, MANIFEST), storage.path(folder, MANIFEST))
    tables = (spark.read.parquet(storage.path(folder, name)) for name in ("user_factors", "item_factors"))
    return ModelVersion(storage, version, folder, manifest, *tables)


def collect_sample(factors: DataFrame, n: int) -> Float32Array:
    """The rows of ``n`` ids of a factor table, or of all if there are fewer, shape (n, width): the same each time."""
    order = F.xxhash64(F.col("id").cast("string")), F.col("id")
    rows = factors.orderBy(*order).limit(n).select("features").collect()
    return np.array([row["features"] for row in rows], dtype=np.float32)
