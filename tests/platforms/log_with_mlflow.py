"""Logs a model with MLflow (argument log), or loads the one of a run and predicts (argument the run's URI)."""

from __future__ import annotations

import sys

import mlflow
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession

from wals_spark.ml import WALS

what, store, folder = sys.argv[1:]
mlflow.set_tracking_uri(store)
spark = SparkSession.builder.master("local[2]").getOrCreate()
ratings = spark.read.parquet(f"{folder}/ratings")
if what == "log":
    model = Pipeline(stages=[WALS(rank=2, maxIter=2)]).fit(ratings)
    with mlflow.start_run():
        info = mlflow.spark.log_model(model, "model")
    print(info.model_uri, model.transform(ratings).agg({"prediction": "sum"}).first()[0])
else:
    loaded = mlflow.spark.load_model(what)
    print(what, loaded.transform(ratings).agg({"prediction": "sum"}).first()[0])
