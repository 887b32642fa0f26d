"""Opens a stored version of a model: its manifest, and its factor tables as DataFrames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.types import Float32Array, Float64Array
from wals_spark.errors import ConfigError, InputError
from wals_spark.messages import quoted
from wals_spark.objective.objective import Objective
from wals_spark.run.manifest import files_of_manifest, read_manifest, read_objectives, read_training_settings
from wals_spark.settings.tables import VERSION_NAME
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import from_json
from wals_spark.spark.causes import JAVA_ERRORS, lasting_causes
from wals_spark.spark.model.files import verify_files
from wals_spark.spark.model.publish import version_folder
from wals_spark.spark.storage import CURRENT, GRAMIANS, MANIFEST, Storage

IdTypes = tuple[T.DataType, T.DataType]
"""The types of the ids of users and of items."""


@dataclass(frozen=True)
class FactorTables:
    """What scores are computed from: factors (id, features) of ``width`` numbers, of which ``rank`` are no biases.

    The score of a pair is ``global_mean`` and the dot product of both rows.
    """

    user_factors: DataFrame
    item_factors: DataFrame
    rank: int
    width: int
    global_mean: float = 0.0


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
    def tables(self) -> FactorTables:
        """What scores are computed from."""
        mean = float(self.manifest["score"]["global_mean"])
        return FactorTables(self.user_factors, self.item_factors, int(self.manifest["rank"]), self.width, mean)

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


def open_version(
    spark: SparkSession, root: str, version: str = "", *, verified: bool = False, setting: str = "model"
) -> ModelVersion:
    """Open a version of the model below ``root``; none named: the served one.

    Its files are compared with the manifest, byte for byte, unless the caller has just written them (``verified``).
    Messages name the section ``setting``.

    Raises
    ------
    InputError
        If there is no such version, if its folder holds no manifest, and so no complete model, or if one of its files
        is missing or is not what was written.
    """
    try:
        storage = Storage(spark, root)
        return _open(storage, version or _served(storage, setting), verified=verified, setting=setting)
    except ConfigError as error:
        raise InputError(f"{setting}.path = {quoted(root)} cannot be opened: {error}") from error
    except JAVA_ERRORS as error:
        causes = lasting_causes(error)
        raise InputError(f"{setting}.path = {quoted(root)} cannot be opened: {causes}") from error


def _served(storage: Storage, setting: str) -> str:
    if not storage.exists(CURRENT):
        raise InputError(
            f"{setting}.path = {quoted(storage.root)}: there is no {CURRENT} in it, so no version is served; name one "
            f"with {setting}.version, or give the folder that output.path named in training"
        )
    return storage.read_text(CURRENT).strip()


def _open(storage: Storage, version: str, *, verified: bool, setting: str) -> ModelVersion:
    if not re.match(VERSION_NAME, version):
        where = f"{quoted(storage.path(CURRENT))} or {setting}.version"
        raise InputError(f"{quoted(version)} is no name of a version: {where}")
    folder = version_folder(version)
    if not storage.exists(folder, MANIFEST):
        raise InputError(
            f"{storage.path(folder)} holds no {MANIFEST}, so it is no complete model: its training has not ended, or "
            f"{setting}.path or {setting}.version names another folder"
        )
    manifest = read_manifest(storage.read_text(folder, MANIFEST), storage.path(folder, MANIFEST))
    listed = files_of_manifest(manifest)
    if listed and not verified:
        verify_files(storage, folder, listed)
    return ModelVersion(storage, version, folder, manifest, *_tables(storage, folder))


def unfinished_version(
    storage: Storage, version: str, document: dict[str, Any], *, id_types: IdTypes | None = None
) -> ModelVersion:
    """A version whose tables are written and whose manifest need not be: ``document`` is what it says.

    With the types of ids of users and of items, Spark need not look for them in the files.
    """
    folder = version_folder(version)
    return ModelVersion(storage, version, folder, document, *_tables(storage, folder, id_types))


def _tables(storage: Storage, folder: str, id_types: IdTypes | None = None) -> tuple[DataFrame, DataFrame]:
    readers = [storage.spark.read] * 2
    if id_types is not None:
        readers = [storage.spark.read.schema(_schema(id_type)) for id_type in id_types]
    paths = (storage.path(folder, f"{side}_factors") for side in ("user", "item"))
    users, items = (reader.parquet(path) for reader, path in zip(readers, paths, strict=True))
    return users, items


def _schema(id_type: T.DataType) -> T.StructType:
    return T.StructType([T.StructField("id", id_type), T.StructField("features", T.ArrayType(T.FloatType()))])


def collect_sample(factors: DataFrame, n: int) -> Float32Array:
    """The rows of ``n`` ids of a factor table, or of all if there are fewer, shape (n, width): the same each time."""
    order = F.xxhash64(F.col("id").cast("string")), F.col("id")
    rows = factors.orderBy(*order).limit(n).select("features").collect()
    return np.array([row["features"] for row in rows], dtype=np.float32)
