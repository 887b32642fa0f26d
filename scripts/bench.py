"""Our training and its peers on the same rows and the same cores, in turn: seconds an iteration, seconds to a loss.

Each system runs in a process of its own, warmed up by short trainings on the same rows, on Spark by four. All minimise

    Σ_all c (p − x·y)² + λ Σ n |x|²        c = 1 + 10 ln(1 + r) where observed, λ = 0.1

but `implicit`, which has no λ by count and gets the plain one of the mean row; its loss is under the formula above
all the same. MLlib is given ln(1 + r) as ratings, the best of three numbers of blocks, and a native BLAS held to one
thread, if the machine has one (Debian: apt-get install libopenblas0; without it MLlib is slower).

With --crowd a third of the rows are one item's, which every user has, and one user has every item; `ours-unspread` is
ours without what it has for such rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from wals_spark.arrays.types import AnyArray, Float32Array, Int64Array
from wals_spark.local.synthetic import synthetic_ratings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench"
ALPHA, REG_PARAM = 10.0, 0.1
MLLIB_BLOCKS = (1, 2, 5)  # a core

Outcome = tuple[dict[str, Any], Float32Array, Float32Array]


def main() -> None:
    """Make the data, run the systems, print and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=9_600_000, help="observations; users and items grow with them")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--systems", default=",".join(PEERS), help=f"comma-separated, of: {', '.join(SYSTEMS)}")
    parser.add_argument("--blocks", type=int, default=0, help="blocks a side of ours; 0: as many as it chooses")
    parser.add_argument("--crowd", action="store_true", help="rows of one item that every user has")
    parser.add_argument("--json", type=Path, help="file for the records, a list of objects")
    parser.add_argument("--picture", type=Path, help="file for the picture, png or svg")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    unknown = set(chosen.systems.split(",")) - set(SYSTEMS)
    if unknown or chosen.iterations < 4 or chosen.rows < 1000:
        parser.error(
            f"unknown systems {sorted(unknown)}" if unknown else "at least 1000 rows and 4 iterations are needed"
        )
    if chosen.run:
        run_here(chosen.run, Course.of(chosen))
        return
    make(Course.of(chosen))
    records = [run(system, chosen) for system in chosen.systems.split(",")]
    show(records)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(records, indent=2) + "\n")
    if chosen.picture:
        chosen.picture.parent.mkdir(parents=True, exist_ok=True)
        draw(records, chosen.picture)


@dataclass(frozen=True)
class Course:
    """What all systems run: the rows, and how."""

    rows: int
    rank: int
    iterations: int
    blocks: int
    crowd: bool

    @classmethod
    def of(cls, chosen: argparse.Namespace) -> Course:
        """As the command line has it."""
        return cls(chosen.rows, chosen.rank, chosen.iterations, chosen.blocks, chosen.crowd)

    @property
    def path(self) -> Path:
        """The made data."""
        return FOLDER / f"{'crowd' if self.crowd else 'rows'}-{self.rows}.parquet"


def make(course: Course) -> None:
    """70 users and 11 items for 9,600 rows: what the published figures of this project were measured on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if course.path.exists():
        return
    rows, n_users, n_items = course.rows, course.rows * 70 // 9600, course.rows * 11 // 9600
    if course.crowd:
        rows, n_users = rows * 2 // 3, rows // 3
    users, items, ratings = synthetic_ratings(rows, users=max(50, n_users), items=max(20, n_items))
    if course.crowd:
        users, items, ratings = crowded(users, items, ratings, n_users)
    unfinished = FOLDER / "unfinished.parquet"
    pq.write_table(pa.table({"user": users, "item": items, "rating": ratings}), unfinished)
    unfinished.rename(course.path)


def crowded(
    users: Int64Array, items: Int64Array, ratings: Float32Array, n_users: int
) -> tuple[Int64Array, Int64Array, Float32Array]:
    """The same with one more item, which every user has, and one more user, who has every item."""
    every_item = np.arange(items.max() + 2)
    users = np.concatenate([users, np.arange(n_users), np.full(len(every_item), n_users)])
    items = np.concatenate([items, np.full(n_users, every_item[-1]), every_item])
    return users, items, np.concatenate([ratings, np.ones(len(users) - len(ratings), dtype=np.float32)])


def run(system: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One system in a process of its own; its record."""
    print(f"{system} ...", file=sys.stderr)
    arguments = ["--rows", chosen.rows, "--rank", chosen.rank, "--iterations", chosen.iterations, "--run", system]
    arguments += ["--blocks", chosen.blocks, *(["--crowd"] if chosen.crowd else [])]
    record = FOLDER / f"{system}.json"
    record.unlink(missing_ok=True)
    with (FOLDER / f"{system}.log").open("w") as log:
        command = [sys.executable, str(Path(__file__)), *map(str, arguments)]
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if code or not record.exists():
        sys.exit(f"{system} ended with exit code {code}; its log is {FOLDER / f'{system}.log'}")
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def run_here(system: str, course: Course) -> None:
    """Train, and write the record with the exact loss of the factors."""
    table = pq.read_table(course.path)
    users, items, ratings = (table[name].to_numpy() for name in ("user", "item", "rating"))
    record, x, y = SYSTEMS[system](course)
    common = {"system": system, "rows": len(users), "rank": course.rank, "cores": cores()}
    record = {**common, "iterations": course.iterations, **record, "loss": loss(users, items, ratings, x, y)}
    (FOLDER / f"{system}.json").write_text(json.dumps(record))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loss(users: AnyArray, items: AnyArray, ratings: AnyArray, x: Float32Array, y: Float32Array) -> float:
    """The exact loss of the module's first lines; rows of factors by id, 0 where an id has none."""
    total = float(np.vdot(x.T.astype(np.float64) @ x, y.T.astype(np.float64) @ y))
    for begin in range(0, len(users), 1_000_000):
        part = slice(begin, begin + 1_000_000)
        score = np.einsum("nf,nf->n", x[users[part]], y[items[part]]).astype(np.float64)
        c = 1.0 + ALPHA * np.log1p(ratings[part].astype(np.float64))
        total += float((c * (1.0 - score) ** 2 - score**2).sum())
    for ids, factors in ((users, x), (items, y)):
        norms = np.einsum("nf,nf->n", factors, factors, dtype=np.float64)
        total += REG_PARAM * float(np.bincount(ids, minlength=len(factors)) @ norms)
    return total


def of_ours(*chosen: str) -> Callable[[Course], Outcome]:
    """Train with wals_spark on local Spark: from the table of interactions, ids and all."""

    def train_ours(course: Course) -> Outcome:
        from wals_spark.settings.train import load_config
        from wals_spark.spark import checking as ratings
        from wals_spark.spark.model import publish as publishing
        from wals_spark.spark.session import open_session
        from wals_spark.spark.training import build as blocking
        from wals_spark.spark.training import loop as training

        settings = [
            f"input.path={course.path}", "output.path=unused", f"train.rank={course.rank}",
            f"confidence.alpha={ALPHA}", f"train.reg_param={REG_PARAM}",
            f"train.user_blocks={course.blocks}", f"train.item_blocks={course.blocks}", *chosen,
        ]  # fmt: skip
        iterations = course.iterations
        work = f"{FOLDER}/ours"
        record: dict[str, Any] = {}
        with open_session("bench", local_master=f"local[{cores()}]") as spark:
            warm_up = [2] * (1 + len(MLLIB_BLOCKS))  # as warm as MLlib's JVM is after its trials
            for trial, planned in enumerate([*warm_up, iterations]):
                config = load_config(None, [*settings, f"train.max_iter={planned}"])
                memory_of_workers("VmHWM", forget=True)
                began = time.perf_counter()
                ends = [0.0]
                checked = ratings.check(ratings.read(spark, config.input), config.input)
                blocks = blocking.build_blocks(
                    spark, checked.table, rows=checked.rows, duplicates="sum", work=f"{work}/blocks",
                    item_costs=checked.item_costs, user_blocks=course.blocks, item_blocks=course.blocks,
                    heavy_row_threshold=config.train.heavy_row_threshold,
                )  # fmt: skip
                objectives = config.objectives(users=blocks.users.rows, items=blocks.items.rows)
                ends[0] = time.perf_counter() - began
                laying_out = memory_of_workers("VmHWM", forget=True)

                def stamp(_: Any, ends: list[float] = ends, began: float = began) -> None:
                    ends.append(time.perf_counter() - began)

                trained = training.train(
                    spark.sparkContext, blocks.users, blocks.items, config.train, objectives, stamp
                )
                if trial == len(warm_up):
                    # From the second iteration to the last but one: the first loads blocks, the last is exact.
                    per_iteration = np.diff(np.array(ends)[2 : 2 * iterations - 1 : 2])
                    inside = [
                        first.solve_seconds + second.solve_seconds
                        for first, second in zip(trained.events[2:-2:2], trained.events[3:-2:2], strict=True)
                    ]
                    record = {
                        "prepare_seconds": ends[0],
                        "seconds_per_iteration": statistics.median(per_iteration),
                        "kernel_seconds_per_iteration": statistics.median(inside) / cores(),
                        "seconds": ends[-1],
                        "worker_peak_mib_laying_out": laying_out,
                        "worker_peak_mib": memory_of_workers("VmHWM"),
                        "worker_data_mib": data_of_a_task(blocks, course.rank),
                        "slowest_task_seconds": max(event.slowest_solve_seconds for event in trained.events[2:-2]),
                        "curve": [[at, event.loss.total] for at, event in zip(ends[1:], trained.events, strict=True)],
                    }
                    for side, kept in ((blocks.users, trained.user_factors), (blocks.items, trained.item_factors)):
                        subprocess.run(["rm", "-rf", f"{work}/{side.name}"], check=True)
                        publishing.write_factors(spark, side, kept, f"{work}/{side.name}")
                trained.unpersist()
            record["worker_idle_mib"] = memory_of_workers("VmRSS")
        return record, by_id(f"{work}/users"), by_id(f"{work}/items")

    return train_ours


def memory_of_workers(of: str, *, forget: bool = False) -> float:
    """The most memory that a Python worker on this machine has had (VmHWM) or has (VmRSS), in MiB; Linux only.

    With ``forget`` what it has had begins anew.
    """
    found = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes()
            if b"pyspark" in command and b"daemon" in command:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                found.append(int(lines[of].split()[0]))
                if forget:
                    (status.parent / "clear_refs").write_text("5")
        except (OSError, KeyError):
            continue  # it ended while we looked
    return max(found) / 1024


def data_of_a_task(blocks: Any, rank: int) -> float:
    """What the larger task of a half-iteration holds at least, in MiB: its in-block, and rows received and solved."""
    row, sides = 4 * rank, (blocks.users, blocks.items)
    of_sides = [
        blocks.observations / solved.n_blocks * 4 + row * (fixed.rows + solved.rows / solved.n_blocks)
        for solved, fixed in (sides, sides[::-1])
    ]
    return float(max(of_sides)) / 2**20


def by_id(path: str) -> Float32Array:
    """A factor table as a matrix whose row number is the id."""
    table = pq.read_table(path).combine_chunks()
    ids = table["id"].to_numpy()
    rows = table["features"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
    matrix = np.zeros((ids.max() + 1, rows.shape[1]), dtype=np.float32)
    matrix[ids] = rows
    return matrix


def of_mllib(course: Course) -> Outcome:
    """pyspark.ml.recommendation.ALS; it says nothing of its iterations, so two trainings are compared."""
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import functions as F

    from wals_spark.spark.session import open_session

    with open_session("bench", local_master=f"local[{cores()}]") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        table = spark.read.parquet(str(course.path)).select(
            F.col("user").cast("int"), F.col("item").cast("int"), F.log1p("rating").cast("float").alias("rating")
        )

        def fit(n_blocks: int, max_iter: int) -> tuple[float, Any]:
            began = time.perf_counter()
            als = ALS(rank=course.rank, maxIter=max_iter, regParam=REG_PARAM, implicitPrefs=True, alpha=ALPHA, seed=0,
                      numUserBlocks=n_blocks, numItemBlocks=n_blocks)  # fmt: skip
            model = als.fit(table)
            model.userFactors.count()
            return time.perf_counter() - began, model

        fit(cores(), 1)  # warms up
        trials = {n * cores(): fit(n * cores(), 2)[0] for n in MLLIB_BLOCKS}
        best = min(trials, key=lambda n: trials[n])
        seconds, model = fit(best, course.iterations)
        per_iteration = (seconds - trials[best]) / (course.iterations - 2)
        for name, factors in (("users", model.userFactors), ("items", model.itemFactors)):
            factors.write.mode("overwrite").parquet(f"{FOLDER}/mllib/{name}")
    record = {
        "prepare_seconds": max(0.0, seconds - course.iterations * per_iteration),
        "seconds_per_iteration": per_iteration,
        "seconds": seconds,
        "blocks": best,
    }
    return record, by_id(f"{FOLDER}/mllib/users"), by_id(f"{FOLDER}/mllib/items")


def of_implicit(*, use_cg: bool) -> Callable[[Course], Outcome]:
    """implicit.als on all cores, from a matrix whose ids are row numbers already."""

    def train_implicit(course: Course) -> Outcome:
        from implicit.als import AlternatingLeastSquares
        from scipy.sparse import csr_matrix

        table = pq.read_table(course.path)
        users, items = (table[name].to_numpy() for name in ("user", "item"))
        confidence = (1.0 + ALPHA * np.log1p(table["rating"].to_numpy())).astype(np.float32)
        record: dict[str, Any] = {}
        for planned in (1, course.iterations):
            began = time.perf_counter()
            ends: list[float] = []
            matrix = csr_matrix((confidence, (users, items)))
            plain = REG_PARAM * len(users) / np.sqrt(float(np.prod(matrix.shape)))
            model = AlternatingLeastSquares(
                factors=course.rank, alpha=1.0, regularization=plain, use_cg=use_cg, use_gpu=False, iterations=planned,
                num_threads=cores(), random_state=0,
            )  # fmt: skip
            prepared = time.perf_counter() - began
            model.fit(
                matrix, show_progress=False,
                callback=lambda *_, ends=ends, began=began: ends.append(time.perf_counter() - began),
            )  # fmt: skip
            if planned == course.iterations:
                per_iteration = statistics.median(np.diff(ends))
                record = {
                    "prepare_seconds": max(prepared, ends[0] - per_iteration),
                    "seconds_per_iteration": per_iteration,
                    "seconds": ends[-1],
                }
        return record, model.user_factors, model.item_factors

    return train_implicit


PEERS: dict[str, Callable[[Course], Outcome]] = {
    "ours": of_ours(),
    "ours-exact": of_ours("train.solver=exact"),
    "mllib": of_mllib,
    "implicit-cg": of_implicit(use_cg=True),
    "implicit-exact": of_implicit(use_cg=False),
}
SYSTEMS = {**PEERS, "ours-unspread": of_ours("train.heavy_row_threshold=1000000000000")}


def show(records: list[dict[str, Any]]) -> None:
    """Print a table, with ratios against the first record."""
    first = records[0]
    reached = next((r for r in records if r["system"] == "mllib"), None)
    table = Table(title=f"{first['rows']:,} rows, rank {first['rank']}, {first['cores']} cores, "
                  f"{first['iterations']} iterations")  # fmt: skip
    for name in (
        "system",
        "prepare s",
        "s/iteration",
        f"x {first['system']}",
        "kernels",
        "loss",
        "s to MLlib's loss",
        "MiB: peak, idle, data",
    ):
        table.add_column(name, justify="left" if name == "system" else "right")
    for record in records:
        curve = record.get("curve") or [[record["seconds"], record["loss"]]]
        there = next((at for at, value in curve if reached and value <= 1.00001 * reached["loss"]), None)
        kernel = record.get("kernel_seconds_per_iteration")
        table.add_row(
            record["system"],
            f"{record['prepare_seconds']:.1f}",
            f"{record['seconds_per_iteration']:.2f}",
            f"{record['seconds_per_iteration'] / first['seconds_per_iteration']:.2f}",
            "" if kernel is None else f"{kernel / record['seconds_per_iteration']:.0%}",
            f"{record['loss']:,.0f}",
            "" if there is None else f"{there:.1f}",
            f"{record['worker_peak_mib']:.0f}, {record['worker_idle_mib']:.0f}, {record['worker_data_mib']:.0f}"
            if "worker_peak_mib" in record
            else "",
        )
    Console(width=max(120, Console().width)).print(table)


def draw(records: list[dict[str, Any]], file: Path) -> None:
    """Two panels: seconds an iteration, and seconds to a loss; of a peer that tells no losses only its end is there."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    bars, curves = figure.subplots(1, 2)
    first = records[0]
    figure.suptitle(f"{first['rows']:,} observations, rank {first['rank']}, {first['cores']} cores")
    seconds = [record["seconds_per_iteration"] for record in records]
    drawn = bars.barh([record["system"] for record in records], seconds, color=[f"C{n}" for n in range(len(records))])
    bars.bar_label(drawn, [f"{s:.2f} s  ({s / seconds[0]:.1f}x)" for s in seconds], padding=3)
    bars.set(xlabel="seconds an iteration", xlim=(0, max(seconds) * 1.4))
    bars.invert_yaxis()
    best = min(record["loss"] for record in records)
    for number, record in enumerate(records):
        curve = np.array([*record.get("curve", [])[3::2], [record["seconds"], record["loss"]]])
        curves.plot(*curve.T, "o-", markersize=4, color=f"C{number}", label=record["system"])
    curves.set(xlabel="seconds from the call, preparation included", ylabel="loss")
    curves.set(xlim=(0, None), ylim=(0.98 * best, 1.45 * best))
    curves.legend()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
