"""Samples the rows that two versions have in common, for the drift report."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.nights.drift import ITEMS, QUERIES, Common, drift_of
from wals_spark.spark.held_out import with_plain_ids
from wals_spark.spark.model.open import ModelVersion
from wals_spark.spark.nights.drift_tasks import packed_rows, unpacked_rows


def drift_between(model: ModelVersion, served: ModelVersion | None) -> dict[str, Any]:
    """What the manifest of a model says of the drift since the served version; empty if they cannot be compared."""
    if served is None or served.width != model.width:
        return {}
    counts, samples = {}, []
    for name, number in (("item", ITEMS), ("user", QUERIES)):
        tables: list[DataFrame] = [getattr(one, f"{name}_factors") for one in (model, served)]
        kept, common = _common(tables[0], tables[1], number)
        now, before = (int(one.manifest["counts"][f"{name}s"]) for one in (model, served))
        counts[f"{name}s"] = {"kept": kept, "new": now - kept, "gone": before - kept}
        samples.append(common)
    items, users = samples
    if len(items.now) < 2 or not len(users.now):
        return {}
    return {"drift": drift_of(items, users, int(model.manifest["rank"]), counts, served.version)}


def _common(now: DataFrame, served: DataFrame, number: int) -> tuple[int, Common]:
    """How many ids both tables have, and the rows of ``number`` of them, the same each time: at most 20 MB or so."""
    now.sparkSession.sparkContext.setJobDescription("compare with the served version")
    ours, theirs = (with_plain_ids(table, "id") for table in (now, served))
    both = ours.join(theirs.withColumnRenamed("features", "before"), "id")
    order = F.xxhash64(F.col("id").cast("string")), F.col("id")
    drawn = both.orderBy(*order).limit(number).select("features", "before")
    rows = drawn.mapInArrow(packed_rows, "features binary, before binary").collect()
    return both.count(), Common(*(unpacked_rows([row[name] for row in rows]) for name in ("features", "before")))
