"""Saved models: MLlib's layout (metadata/, userFactors/, itemFactors/), and in the metadata all that ours have beside.

Metadata and tables are read and written by Spark alone, so that it works with Spark Connect, too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter
from pyspark.sql import SparkSession

from wals_spark.errors import InputError
from wals_spark.messages import quoted
from wals_spark.ml.summary import TrainingSummary
from wals_spark.run.manifest import sealed
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.api import Model
from wals_spark.spark.model.factor_tables import gramian_of
from wals_spark.spark.model.open import FactorTables, open_version
from wals_spark.spark.model.publish import version_folder
from wals_spark.spark.scratch import Scratch
from wals_spark.spark.session import session_of
from wals_spark.spark.storage import EVENTS, GRAMIANS, MANIFEST

if TYPE_CHECKING:
    from wals_spark.ml.model import WALSModel

_OURS = "wals_spark"  # the entry of the metadata that MLlib does not know
_OF_MLLIB = "org.apache.spark.ml.recommendation.ALSModel"
_METADATA, _USERS, _ITEMS = "metadata", "userFactors", "itemFactors"


class WALSModelWriter(MLWriter):
    """Saves a `WALSModel`."""

    def __init__(self, instance: WALSModel) -> None:
        super().__init__()
        self._instance = instance

    def saveImpl(self, path: str) -> None:
        """Write tables, and then the metadata, without which the folder is no model."""
        model, spark = self._instance, self.sparkSession
        for name, table in ((_USERS, model.userFactors), (_ITEMS, model.itemFactors)):
            table.write.parquet(f"{path}/{name}")
        document = {"rank": model.rank, _OURS: _document(model)}
        text = DefaultParamsWriter._get_metadata_to_save(model, spark, document)
        spark.createDataFrame([(text,)], "value string").coalesce(1).write.text(f"{path}/{_METADATA}")


class WALSModelReader(MLReader["WALSModel"]):
    """Loads a `WALSModel`, or what MLlib's ALSModel has saved."""

    def load(self, path: str) -> WALSModel:
        """Load a model.

        Raises
        ------
        InputError
            If there is no model of ours or of MLlib's.
        """
        from wals_spark.ml.model import WALSModel

        spark = self.sparkSession
        metadata = _metadata(spark, path)
        ours = metadata.get(_OURS)
        users, items = (spark.read.parquet(f"{path}/{name}") for name in (_USERS, _ITEMS))
        rank = int(metadata["rank"])
        score = {"length": rank, "global_mean": 0.0} if ours is None else ours["score"]
        model = WALSModel()
        model._resetUid(metadata["uid"])
        model._tables = FactorTables(users, items, rank, int(score["length"]), float(score["global_mean"]))
        if ours is not None:
            model._document = ours["manifest"]
            model._summary = None if ours["summary"] is None else TrainingSummary(**ours["summary"])
        for name in ("paramMap", "defaultParamMap"):  # MLlib's model has none that ours has not, today
            metadata[name] = {key: value for key, value in metadata.get(name, {}).items() if model.hasParam(key)}
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model


def _metadata(spark: SparkSession, path: str) -> dict[str, Any]:
    row = spark.read.text(f"{path}/{_METADATA}").first()
    metadata: dict[str, Any] = json.loads(row[0]) if row is not None else {}
    if metadata.get("class") not in (_OF_MLLIB, "pyspark.ml.recommendation.ALSModel") and _OURS not in metadata:
        raise InputError(
            f"{quoted(path)} holds a {metadata.get('class', 'folder without metadata')}, and neither a WALSModel nor "
            "an ALSModel"
        )
    return metadata


def _document(model: WALSModel) -> dict[str, Any]:
    """What the metadata says beyond MLlib's: how a score is computed, and what a fold-in needs to know."""
    tables = model._factors
    return {
        "score": {"length": tables.width, "global_mean": tables.global_mean},
        "manifest": model._document if model._model is None else model._model.manifest,
        "summary": model.summary.as_document() if model.hasSummary else None,
    }


def as_version(model: WALSModel) -> Model:
    """The model as what jobs have; one that was loaded is written below a temporary folder.

    Raises
    ------
    InputError
        If it was saved by MLlib, which does not keep what a fold-in and a manifest need.
    """
    if model._model is not None:
        return model._model
    if model._document is None:
        raise InputError(
            "the model was saved by MLlib, without regParam, alpha and how it was trained: fit it again with WALS"
        )
    model._model = _written(model, model._document)
    return model._model


def _written(model: WALSModel, manifest: dict[str, Any]) -> Model:
    """A model that was loaded as a version below a temporary folder."""
    tables = model._factors
    spark = tables.user_factors.sparkSession
    scratch, folder, gramians = Scratch(spark), version_folder(manifest["version"]), {}
    with session_of(spark):
        for side, table in (("users", tables.user_factors), ("items", tables.item_factors)):
            table.write.parquet(scratch.storage.path(folder, f"{side[:-1]}_factors"))
            gramians[side] = gramian_of(table)[1]
    scratch.storage.replace(as_json(gramians), folder, GRAMIANS)
    scratch.storage.replace("", folder, EVENTS)
    scratch.storage.replace(sealed(manifest, []), folder, MANIFEST)
    return Model(open_version(spark, scratch.storage.root, manifest["version"]), scratch)
