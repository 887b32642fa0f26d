"""Predicts the scores of given pairs, as two joins with the factor tables and a product per pair."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError
from wals_spark.evaluation.rating_errors import RatingErrors
from wals_spark.settings.predict import Pairs, PredictSettings, Unknown
from wals_spark.spark.columns import id_column
from wals_spark.spark.histories import refuse_other_type
from wals_spark.spark.model.open import FactorTables, ModelVersion, open_version
from wals_spark.spark.predict_tasks import (
    DOUBLE,
    ITEM_FEATURES,
    PREDICTION,
    USER_FEATURES,
    Prediction,
    predict_pairs,
)
from wals_spark.spark.reading import MALFORMED, read, unreadable_is_refused
from wals_spark.spark.session import arrow_batch_rows
from wals_spark.spark.storage import new_folder

logger = logging.getLogger("wals_spark")

_IDS = {"user": "_wals_user_id", "item": "_wals_item_id"}
_BATCH_BYTES = 32 * 2**20  # of factors that reach Python together


def run_predict(spark: SparkSession, settings: PredictSettings) -> None:
    """Predict the pairs that the settings name with a stored model, and write them."""
    with new_folder(spark, settings.output.path) as folder:
        model = open_version(spark, settings.model.path, settings.model.version)
        pairs = read(spark, settings.pairs, section="pairs").drop(MALFORMED)
        predicted = predict(model.tables, pairs, settings.pairs, unknown=settings.predict.unknown)
        spark.sparkContext.setJobDescription("predict and write")
        batch_rows = max(1, _BATCH_BYTES // (8 * model.width))
        with unreadable_is_refused(settings.pairs, "pairs", writing=True), arrow_batch_rows(spark, batch_rows):
            predicted.write.mode("append").parquet(folder.path())  # which is ours
        written = spark.read.parquet(folder.path())
        unknown = F.count_if(F.isnan(PREDICTION)).alias("unknown")
        (row,) = written.agg(F.count("*").alias("rows"), unknown).collect()
    logger.info(
        "wrote %s pairs to %s, %s of them with a user or an item that model %s does not have",
        f"{row['rows']:,}", settings.output.path, f"{row['unknown']:,}", model.version,
    )  # fmt: skip


def predict(
    tables: FactorTables,
    pairs: DataFrame,
    names: Pairs,
    *,
    unknown: Unknown = "nan",
    prediction: Prediction = DOUBLE,
) -> DataFrame:
    """The pairs with a column of predictions: the global mean and the product of both rows of factors.

    All columns and rows are kept, in any order; ``unknown`` says what happens to pairs that the model has no factors
    for, and to those without an id.

    Raises
    ------
    InputError
        If a column of ids is missing or of another type than the model's, or the prediction's column is there already.
    """
    if prediction.name in pairs.columns:
        raise InputError(f"pairs: a column is called {prediction.name} already; rename or drop it")
    factors = {"user": (tables.user_factors, USER_FEATURES), "item": (tables.item_factors, ITEM_FEATURES)}
    joined = pairs
    for role in factors:
        joined = joined.withColumn(_IDS[role], id_column(pairs, f"pairs.{role}", getattr(names, role)))
    for role, (table, _) in factors.items():
        refuse_other_type(joined.schema[_IDS[role]].dataType, table.schema["id"].dataType, setting=f"pairs.{role}")
    for role, (table, features) in factors.items():
        ids = table.select(F.col("id").alias("_wals_id"), F.col("features").alias(features))
        if not isinstance(ids.schema["_wals_id"].dataType, T.StringType):  # a join of integers is by the wider type
            ids = ids.withColumn("_wals_id", F.col("_wals_id").cast("bigint"))
        joined = joined.join(ids, F.col(_IDS[role]) == F.col("_wals_id"), "left").drop("_wals_id")
    joined = joined.drop(*_IDS.values())
    predicted = _with_scores(joined, prediction, tables.global_mean, pairs.schema.fields)
    return predicted if unknown == "nan" else predicted.where(~F.isnan(F.col(f"`{prediction.name}`")))


def _with_scores(joined: DataFrame, prediction: Prediction, offset: float, kept: Sequence[T.StructField]) -> DataFrame:
    """The ``kept`` columns and the prediction, which is NaN where factors are missing.

    Spark has a product of float arrays of its own since 4.3, in a third of the time that arrays take to Python.
    """
    if prediction.is_float and hasattr(F, "vector_inner_product"):
        score = F.vector_inner_product(USER_FEATURES, ITEM_FEATURES) + F.lit(offset).cast("float")
        column = F.coalesce(score, F.lit(float("nan")).cast("float")).alias(prediction.name)
        return joined.select("*", column).drop(USER_FEATURES, ITEM_FEATURES)
    number = T.FloatType() if prediction.is_float else T.DoubleType()
    schema = T.StructType([*kept, T.StructField(prediction.name, number, False)])
    return joined.mapInArrow(partial(predict_pairs, offset=offset, prediction=prediction), schema)


def rating_errors(model: ModelVersion, test: DataFrame) -> RatingErrors:
    """The errors of the predicted ratings of checked interactions: one pass, a row at a time, repeated pairs too.

    Raises
    ------
    InputError
        If the model knows the user and the item of no row.
    """
    model.spark.sparkContext.setJobDescription("errors of predicted ratings")
    difference = F.col(PREDICTION) - F.col("rating")
    is_known = ~F.isnan(PREDICTION)
    sums = predict(model.tables, test.select("user", "item", "rating"), Pairs()).agg(
        F.count_if(is_known).alias("known"),
        F.count_if(~is_known).alias("unknown"),
        F.sum(F.when(is_known, difference * difference)).alias("squared"),
        F.sum(F.when(is_known, F.abs(difference))).alias("absolute"),
    )
    (row,) = sums.collect()
    if not row["known"]:
        raise InputError(f"test: the model has the user and the item of none of the {row['unknown']} rows")
    return RatingErrors(row["known"], row["unknown"], row["squared"], row["absolute"])
