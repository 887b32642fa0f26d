"""Ranks the k best items for every user with wals_spark, with and without items already seen, and with MLlib.

Factors are random: normal, with long-tailed lengths of items; histories are long-tailed on both sides. Each system runs
in a process of its own, warmed up on a tenth of the users four times, from factor tables to results that are computed
and discarded (Spark's ``noop`` format): ``ours`` as a job ranks, ``face`` by WALSModel.recommendForAllUsers. MLlib is
an ALSModel of the same factors, in its memory before the clock starts, with the best of three block sizes and a native
BLAS limited to one thread, if the machine has one (Debian: apt-get install libopenblas0). `implicit` has factors and
pairs in its memory before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.processes import PeakMemory, n_cores, run_in_own_process, save_record, write_json
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.table import Table

from wals_spark.arrays.features import feature_column, feature_rows
from wals_spark.local.synthetic import synthetic_ratings
from wals_spark.ml import WALSModel
from wals_spark.ranking.modes import MODES
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.recommend import rank
from wals_spark.spark.recommend_tasks import RankTask
from wals_spark.spark.session import open_session

FOLDER = Path(__file__).resolve().parent.parent / "build/bench-topk"
MLLIB_BLOCK_SIZES = (1024, 4096, 16384)  # rows per block in recommendForAll; 4096 is MLlib's default

Timed = Callable[[], None]
"""Ranks for all users; the clock runs while it is called."""


def main() -> None:
    """Make the data, run the systems, print and write the results."""
    options = parse_options()
    if options.run:
        run(options.run, options)
        return
    write_tables(options)
    records = [run_in_own_process(system, FOLDER) for system in options.systems.split(",")]
    print_table(records)
    if options.json:
        write_json(records, options.json)


def parse_options() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=11_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--rows", type=int, default=9_600_000, help="pairs of a user and an item already seen")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated, of: %(default)s")
    parser.add_argument("--json", type=Path, help="file for the records, a list of objects")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.systems.split(",")) - set(SYSTEMS))
    if unknown:
        parser.error(f"unknown systems {unknown}")
    return options


def data_folder(options: argparse.Namespace) -> Path:
    """The folder of the tables."""
    return FOLDER / f"{options.users}-{options.items}-{options.rank}-{options.rows}"


def write_tables(options: argparse.Namespace) -> None:
    """Write users, items and seen pairs as Parquet, unless they exist."""
    folder, unfinished = data_folder(options), FOLDER / "unfinished"
    if folder.exists():
        return
    unfinished.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, rows in (("users", options.users), ("items", options.items)):
        factors = rng.normal(size=(rows, options.rank), scale=options.rank**-0.5).astype(np.float32)
        if name == "items":
            factors *= (1.0 + rng.pareto(3.0, size=(rows, 1))).astype(np.float32)
        table = pa.table({"id": np.arange(rows, dtype=np.int32), "features": feature_column(factors)})
        pq.write_table(table, unfinished / f"{name}.parquet", row_group_size=max(1000, rows // 16))
    users, items, _ = synthetic_ratings(options.rows, users=options.users, items=options.items)
    pairs = {"user": users.astype(np.int32), "item": items.astype(np.int32)}
    pq.write_table(pa.table(pairs), unfinished / "seen.parquet")
    unfinished.rename(folder)


def run(system: str, options: argparse.Namespace) -> None:
    """Warm up one system in this process, rank for all users, and save the record."""
    peak = PeakMemory()
    with open_session("bench top-k", local_master=f"local[{n_cores()}]") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        rank_all, parameters = SYSTEMS[system](spark, options)
        began = time.perf_counter()
        rank_all()
        seconds = time.perf_counter() - began
    record = {
        "system": system, "users": options.users, "items": options.items, "rank": options.rank, "k": options.k,
        "cores": n_cores(), "seconds": seconds, "pairs_per_second": options.users * options.items / seconds,
        "peak_gib": peak.gib(), **parameters,
    }  # fmt: skip
    save_record(record, FOLDER)


def prepare_ours(
    spark: SparkSession, options: argparse.Namespace, *, exclude_seen: bool
) -> tuple[Timed, dict[str, Any]]:
    """What jobs/recommend.py does between reading a model and writing a table."""
    users, items, seen = (
        spark.read.parquet(f"{data_folder(options)}/{name}.parquet") for name in ("users", "items", "seen")
    )

    def rank_for(queries: DataFrame, n_queries: int) -> None:
        sent = SentTables()
        task = RankTask(sent.table(items, width=options.rank), options.k, MODES["items"])
        compute(rank(queries, task, n_queries=n_queries, pairs=seen if exclude_seen else None))

    for _ in range(1 + len(MLLIB_BLOCK_SIZES)):  # as many warm-ups as MLlib has with its trials
        rank_for(users.where("id % 10 = 0"), options.users // 10)
    return lambda: rank_for(users, options.users), {}


def prepare_face(
    spark: SparkSession, options: argparse.Namespace, *, exclude_seen: bool
) -> tuple[Timed, dict[str, Any]]:
    """WALSModel.recommendForAllUsers of a model that was loaded before the clock starts; executors have none of it."""
    users, items, seen = (
        spark.read.parquet(f"{data_folder(options)}/{name}.parquet") for name in ("users", "items", "seen")
    )
    path = FOLDER / "saved-model"
    jvm: Any = spark.sparkContext._jvm
    saved = jvm.org.apache.spark.ml.recommendation.ALSModel("als", options.rank, users._jdf, items._jdf)
    saved.setUserCol("user").setItemCol("item").write().overwrite().save(str(path))
    exclude = seen if exclude_seen else None
    tenth = users.where("id % 10 = 0").selectExpr("id user")
    for _ in range(1 + len(MLLIB_BLOCK_SIZES)):
        compute(WALSModel.load(str(path)).recommendForUserSubset(tenth, options.k, exclude=exclude))
    model = WALSModel.load(str(path))
    return lambda: compute(model.recommendForAllUsers(options.k, exclude=exclude)), {}


def prepare_implicit(
    spark: SparkSession,  # noqa: ARG001
    options: argparse.Namespace,
    *,
    exclude_seen: bool,
) -> tuple[Timed, dict[str, Any]]:
    """`implicit`'s recommend for all users at once; factors and pairs are in its memory, in its layout."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    tables = {name: pq.read_table(data_folder(options) / f"{name}.parquet") for name in ("users", "items", "seen")}
    model = AlternatingLeastSquares(factors=options.rank)
    model.user_factors, model.item_factors = (
        feature_rows(tables[name].column("features").combine_chunks()) for name in ("users", "items")
    )
    users, items = (tables["seen"].column(name).to_numpy() for name in ("user", "item"))
    shape = (options.users, options.items)
    pairs = csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)), shape=shape)

    def rank_for(queries: Any) -> None:
        model.recommend(queries, pairs[queries], N=options.k, filter_already_liked_items=exclude_seen)

    everyone = np.arange(options.users)
    for _ in range(1 + len(MLLIB_BLOCK_SIZES)):
        rank_for(everyone[::10])
    return lambda: rank_for(everyone), {}


def prepare_mllib(spark: SparkSession, options: argparse.Namespace) -> tuple[Timed, dict[str, Any]]:
    """ALSModel.recommendForAllUsers, with the best of three block sizes."""
    users, items = (
        spark.read.parquet(f"{data_folder(options)}/{name}.parquet").repartition(2 * n_cores()).cache()
        for name in ("users", "items")
    )
    users.count()
    items.count()
    jvm: Any = spark.sparkContext._jvm

    def rank_for(queries: DataFrame, block_size: int) -> float:
        began = time.perf_counter()
        model = jvm.org.apache.spark.ml.recommendation.ALSModel("als", options.rank, queries._jdf, items._jdf)
        for name, value in (("UserCol", "user"), ("ItemCol", "item"), ("BlockSize", block_size)):
            getattr(model, f"set{name}")(value)
        compute(DataFrame(model.recommendForAllUsers(options.k), spark))
        return time.perf_counter() - began

    tenth = users.where("id % 10 = 0")
    rank_for(tenth, MLLIB_BLOCK_SIZES[0])
    trials = {size: rank_for(tenth, size) for size in MLLIB_BLOCK_SIZES}
    best = min(trials, key=lambda size: trials[size])
    return lambda: print(rank_for(users, best)), {"block_size": best, "trials_on_a_tenth": trials}


def compute(rows: DataFrame) -> None:
    """Compute all rows, and discard them."""
    rows.write.format("noop").mode("overwrite").save()


SYSTEMS: dict[str, Callable[[SparkSession, argparse.Namespace], tuple[Timed, dict[str, Any]]]] = {
    "ours": partial(prepare_ours, exclude_seen=False),
    "ours-unseen": partial(prepare_ours, exclude_seen=True),
    "face": partial(prepare_face, exclude_seen=False),
    "face-unseen": partial(prepare_face, exclude_seen=True),
    "mllib": prepare_mllib,
    "implicit": partial(prepare_implicit, exclude_seen=False),
    "implicit-unseen": partial(prepare_implicit, exclude_seen=True),
}


def print_table(records: list[dict[str, Any]]) -> None:
    """Print a row per system; ratios are to the last."""
    first, last = records[0], records[-1]
    table = Table(title=f"{first['users']:,} users x {first['items']:,} items, rank {first['rank']}, k = {first['k']}, "
                  f"{first['cores']} cores")  # fmt: skip
    for name in ("system", "seconds", f"{last['system']} / it", "M pairs/s", "peak GiB"):
        table.add_column(name, justify="left" if name == "system" else "right")
    for record in records:
        table.add_row(
            record["system"],
            f"{record['seconds']:.1f}",
            f"{last['seconds'] / record['seconds']:.1f}",
            f"{record['pairs_per_second'] / 1e6:,.0f}",
            f"{record['peak_gib']:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
