"""A model on storage, opened: its manifest, and its factor tables as they lie there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.arrays.types import Float32Array
from wals_spark.errors import InputError
from wals_spark.run.manifest import read_manifest
from wals_spark.spark.storage import CURRENT, MANIFEST, Storage


@dataclass(frozen=True)
class Model:
    """A complete version: `user_factors` and `item_factors` have columns ``id`` and ``features``.

    ``folder`` is its place below the root of ``storage``, ``manifest`` what `manifest.read_manifest` gives.
    """

    storage: Storage
    version: str
    folder: str
    manifest: dict[str, Any]
    user_factors: DataFrame
    item_factors: DataFrame


def open_model(spark: SparkSession, root: str, version: str = "") -> Model:
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
    folder = f"versions/{version}"
    if not storage.exists(folder, MANIFEST):
        raise InputError(
            f"{storage.path(folder)} holds no {MANIFEST}, so it is no complete model: its training has not ended, or "
            "model.path or model.version names another folder"
        )
    manifest = read_manifest(storage.read_text(folder, MANIFEST), storage.path(folder, MANIFEST))
    tables = (spark.read.parquet(storage.path(folder, name)) for name in ("user_factors", "item_factors"))
    return Model(storage, version, folder, manifest, *tables)


def collect_sample(factors: DataFrame, n: int) -> Float32Array:
    """The rows of ``n`` ids of a factor table, or of all if there are fewer, shape (n, width): the same each time."""
    order = F.xxhash64(F.col("id").cast("string")), F.col("id")
    rows = factors.orderBy(*order).limit(n).select("features").collect()
    return np.array([row["features"] for row in rows], dtype=np.float32)
