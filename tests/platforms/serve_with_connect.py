"""Loads a saved model with Spark Connect, predicts and recommends; prints what it found as JSON."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

from wals_spark.ml import WALS, WALSModel

folder = sys.argv[1]
spark = SparkSession.builder.remote("local[2]").getOrCreate()
ratings = spark.read.parquet(f"{folder}/ratings")
model = WALSModel.load(f"{folder}/model")
found = {
    "best": {
        str(row["user"]): [entry["item"] for entry in row["recommendations"]]
        for row in model.recommendForAllUsers(3, exclude=ratings).collect()
    },
    "predictions": {f"{row['user']},{row['item']}": row["prediction"] for row in model.transform(ratings).collect()},
    "subset": sorted(row["user"] for row in model.recommendForUserSubset(ratings.where("user < 3"), 2).collect()),
    "similar": model.similarItems(2).count(),
    "rank": model.rank,
    "stopped_by": model.summary.stoppedBy,
}
try:
    WALS().fit(ratings)
except NotImplementedError as error:
    found["refused"] = str(error)
print(json.dumps(found))
