"""A training on the standalone cluster of the tests: its interactions, and the factors that it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TRAIN = Path(__file__).resolve().parents[1] / "jobs/train.py"
SETTINGS = (
    "input.path=interactions.parquet", "output.path=standalone", "train.rank=8", "train.max_iter=4",
    "train.user_blocks=3", "train.item_blocks=2", "train.heavy_row_threshold=150",
)  # fmt: skip


def write_interactions(folder):
    """Interactions with string and integer ids, some hundred rows of each side; the arguments of the job."""
    rng = np.random.default_rng(3)
    pairs = np.unique(np.stack([rng.integers(400, size=6000), rng.zipf(1.3, size=6000) % 150], axis=1), axis=0)
    table = pa.table(
        {
            "user": [f"user {u}" for u in pairs[:, 0]],
            "item": pairs[:, 1],
            "rating": rng.integers(1, 30, size=len(pairs)).astype(float),
        }
    )
    pq.write_table(table, folder / "interactions.parquet")
    return [f"--set={setting}" for setting in SETTINGS]


def factors(cluster, version):
    """The rows of both sides by (table, id)."""
    rows = {}
    for side in ("user_factors", "item_factors"):
        table = pq.read_table(cluster.folder / "standalone/versions" / version / side)
        ids, features = table["id"].to_pylist(), table["features"].to_pylist()
        rows |= {(side, i): row for i, row in zip(ids, features, strict=True)}
    return rows
