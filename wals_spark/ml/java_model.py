"""A model as MLlib's own, in the JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import ConfigError

if TYPE_CHECKING:
    from wals_spark.ml.model import WALSModel

_INT = 2**31


def java_model(model: WALSModel) -> Any:
    """The same factors as an ALSModel of MLlib.

    Raises
    ------
    ConfigError
        If ids do not fit into 32 bits, or a score is not the product of two rows alone.
    """
    tables = model._factors
    if tables.global_mean or tables.width != tables.rank:
        raise ConfigError("toMLlib: the model has biases or a global mean, which MLlib's model cannot have")
    users, items = (_with_ints(table) for table in (model.userFactors, model.itemFactors))
    jvm: Any = users.sparkSession.sparkContext._jvm
    java = jvm.org.apache.spark.ml.recommendation.ALSModel(model.uid, model.rank, users._jdf, items._jdf)
    of_mllib = ALSModel(java)
    params = {name: model.getOrDefault(name) for name in ("userCol", "itemCol", "predictionCol", "coldStartStrategy")}
    of_mllib._set(**params)
    of_mllib._transfer_params_to_java()  # type: ignore[no-untyped-call, unused-ignore]
    of_mllib._wals_spark_model = model  # type: ignore[attr-defined]  # whose files it reads
    return of_mllib


def _with_ints(table: DataFrame) -> DataFrame:
    """The table with ids of 32 bits."""
    if isinstance(table.schema["id"].dataType, T.StringType):
        raise ConfigError("toMLlib: ids are strings, and MLlib has integers of 32 bits alone")
    if isinstance(table.schema["id"].dataType, T.LongType) and table.where(
        (F.col("id") >= _INT) | (F.col("id") < -_INT)
    ).take(1):
        raise ConfigError("toMLlib: some ids do not fit into 32 bits, and MLlib has no others")
    return table.select(F.col("id").cast("int"), "features")
