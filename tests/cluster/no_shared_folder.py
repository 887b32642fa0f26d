"""Fits where the driver and executors share no folder, and prints as JSON what the model does and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from pyspark.sql import SparkSession

from wals_spark.ml import WALS, WALSModel


def refusal(call: Callable[[], object]) -> str:
    """What an error says; nothing if there is none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def main(root: str) -> None:
    """Fit in one task, use and save the model; then what needs storage."""
    spark = SparkSession.builder.getOrCreate()
    pairs = spark.range(3_000).selectExpr("int(id % 60) user", "int(id % 50) item", "float(1 + id % 3) rating")
    als = WALS(rank=4, maxIter=2, implicitPrefs=True)
    model = als.fit(pairs)
    model.saveVersion(root)
    models = model, WALSModel.fromVersion(root)
    scores = [sum(row["prediction"] for row in each.transform(pairs).collect()) for each in models]
    found = {
        "users": model.recommendForAllUsers(3).count(),
        "scores": scores,
        "large": refusal(lambda: als.copy().setNumUserBlocks(2).fit(pairs)),
        "folded": refusal(lambda: model.foldIn(pairs)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
