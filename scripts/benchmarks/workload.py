"""What every system trains on: synthetic interactions, and how long."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wals_spark.arrays.types import Float32Array, Int64Array
from wals_spark.local.synthetic import synthetic_ratings

FOLDER = Path(__file__).resolve().parents[2] / "build/bench"
MLLIB_BLOCKS_PER_CORE = (1, 2, 5)
WARM_UPS = 1 + len(MLLIB_BLOCKS_PER_CORE)
"""Short trainings before the one that is timed: MLlib needs one, and one per number of blocks; ours has as many."""


@dataclass(frozen=True)
class Workload:
    """The interactions, the rank and the iterations; ``blocks`` per side are of wals_spark alone, 0: its own choice."""

    rows: int
    rank: int
    iterations: int
    blocks: int
    crowd: bool

    @classmethod
    def of(cls, options: argparse.Namespace) -> Workload:
        """As the command line has it."""
        return cls(options.rows, options.rank, options.iterations, options.blocks, options.crowd)

    @property
    def path(self) -> Path:
        """The file of the interactions: user, item, rating."""
        return FOLDER / f"{'crowd' if self.crowd else 'rows'}-{self.rows}.parquet"

    def write_interactions(self) -> None:
        """Write the file, unless it exists.

        There are 70 users and 11 items per 9,600 rows, as in the published figures of this project; of few rows, as
        many items as make the matrix a quarter full.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            return
        rows, n_users, n_items = self.rows, self.rows * 70 // 9600, self.rows * 11 // 9600
        if self.crowd:
            rows, n_users = rows * 2 // 3, rows // 3
        n_items = max(n_items, 20, 4 * rows // max(50, n_users))
        users, items, ratings = synthetic_ratings(rows, users=max(50, n_users), items=n_items)
        if self.crowd:
            users, items, ratings = _with_crowd(users, items, ratings, n_users)
        unfinished = FOLDER / "unfinished.parquet"
        pq.write_table(pa.table({"user": users, "item": items, "rating": ratings}), unfinished)
        unfinished.rename(self.path)


def _with_crowd(
    users: Int64Array, items: Int64Array, ratings: Float32Array, n_users: int
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """The same with one more item, which every user has, and one more user, who has every item."""
    every_item = np.arange(items.max() + 2)
    users = np.concatenate([users, np.arange(n_users), np.full(len(every_item), n_users)])
    items = np.concatenate([items, np.full(n_users, every_item[-1]), every_item])
    return users, items, np.concatenate([ratings, np.ones(len(users) - len(ratings), dtype=np.float32)])
