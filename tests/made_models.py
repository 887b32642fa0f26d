"""Models that nobody trained: a version's files, with factors of one's choice."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from objectives import objectives_of, resolved_of

from wals_spark.arrays.features import feature_column
from wals_spark.objective.objective import Loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.manifest import TrainingRun, sealed, training_manifest
from wals_spark.run.version_files import TABLES, VersionFile, local_files
from wals_spark.settings.train import load_config
from wals_spark.solvers.gramian import as_json, gramian


def write_model(folder, *, users, items, settings=()):
    """Write a version from (ids, rows) of both sides; give its objectives. ``rows`` are float32."""
    sides = {"user_factors": users, "item_factors": items}
    for name, (ids, rows) in sides.items():
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.table({"id": ids, "features": feature_column(rows)}), folder / name / "0.parquet")
    gramians = {"users": gramian(users[1]), "items": gramian(items[1])}
    (folder / "gramians.json").write_text(as_json(gramians))
    config = load_config(None, ["input.path=-", "output.path=-", f"train.rank={items[1].shape[1]}", *settings])
    counts = {"users": len(users[0]), "items": len(items[0]), "observations": 1, "duplicates_merged": 0}
    objectives = objectives_of(config, users=counts["users"], items=counts["items"], largest_item_count=4)
    document = training_manifest(
        TrainingRun(
            version=folder.name,
            created=datetime.now(timezone.utc),
            config=resolved_of(config),
            automatic=[],
            counts={**counts, "rows_dropped": 0},
            objectives=objectives,
            last=HalfIteration(2, 2, "users", counts["users"], 0.1, Loss(1.0, 1.0, 1.0)),
            iterations=2,
            stopped_by="max_iter",
            spark_version="4",
            degrees={},
            seconds={},
            objective_summary=[],
        )
    )
    found = local_files(folder, (*TABLES, "gramians.json"))
    files = [VersionFile(path, size, digest) for path, (size, digest) in found.items()]
    (folder / "manifest.json").write_text(sealed(document, files))
    return objectives


def factors_of(path: Path) -> dict:
    """A factor table as {id: row}, rows in float64."""
    table = pq.read_table(path)
    rows = np.array(table["features"].to_pylist(), dtype=np.float64)
    return dict(zip(table["id"].to_pylist(), rows, strict=True))
