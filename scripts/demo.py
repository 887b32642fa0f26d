"""The demo: make a listening history, train on it with the main job, and look at what came out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from wals_spark.arrays.types import Float32Array, FloatArray, Indices
from wals_spark.local.synthetic import Listening, synthetic_listening

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("build/demo")
TOP = 10
LISTENER = "Zoë García"

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run all of it from the root of the checkout."""
    began = time.monotonic()
    history = synthetic_listening()
    write_interactions(history)
    command = ["jobs/train.py", "--config", "conf/demo.toml"]
    console.print(f"\n[bold]Training[/]: python {' '.join(command)}\n")
    status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)
    version = (ROOT / FOLDER / "model/CURRENT").read_text().strip()
    model = FOLDER / "model/versions" / version
    manifest = json.loads((ROOT / model / "manifest.json").read_text())
    users, items = read_factors(model / "user_factors"), read_factors(model / "item_factors")

    show_recall(history, users, items)
    show_listener(history, users, items)
    counts, loss = manifest["counts"], manifest["loss"]["total"]
    console.print(
        f"\n[bold]The model[/]: {counts['users']} listeners, {counts['items']} albums, rank {manifest['rank']}, "
        f"loss {loss:,.1f}"
    )
    for path, what in (
        (model / "user_factors", "Parquet: id, features"),
        (model / "item_factors", "Parquet: id, features"),
        (model / "manifest.json", "what it is and how it was made"),
        (model / "events.jsonl", "how the loss fell"),
        (model / "report.html", "the same to look at, in a browser"),
        (FOLDER / "model/CURRENT", "the name of the version to serve"),
    ):
        console.print(f"  {path!s:60} {what}")
    console.print(f"\nDone in {time.monotonic() - began:.0f} s. Next: your own data, with conf/train.toml.\n")


def write_interactions(history: Listening) -> None:
    """The pairs that are not held out, as CSV: something to open and look at."""
    path = ROOT / FOLDER / "interactions.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = ~history.held_out
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["listener", "album", "plays"])
        writer.writerows(zip(history.users[kept], history.items[kept], history.plays[kept], strict=True))
    console.print(
        f"[bold]Data[/]: {kept.sum():,} rows of who played which album how often, {len(set(history.users))} listeners "
        f"with two planted tastes each, in {FOLDER}/interactions.csv; {history.held_out.sum():,} more held out"
    )


class Factors(NamedTuple):
    """A factor table: the row of each id, and the rows, shape (n, rank)."""

    row_of: dict[str, int]
    rows: Float32Array


def read_factors(path: Path) -> Factors:
    """Any program that reads Parquet can do this."""
    table = pq.read_table(ROOT / path)
    features = table["features"].combine_chunks().flatten().to_numpy()
    row_of = {name: row for row, name in enumerate(table["id"].to_pylist())}
    return Factors(row_of, features.reshape(len(table), -1))


def top_unseen(scores: FloatArray, seen: Indices, top: int = TOP) -> Indices:
    """The highest-scored items but for those seen, best first."""
    scores = scores.copy()
    scores[seen] = -np.inf
    return np.argsort(-scores, kind="stable")[:top]


def show_recall(history: Listening, users: Factors, items: Factors) -> None:
    """Recall@10 on the held-out pairs (hits over the smaller of 10 and the number held out), and popularity's."""
    item_rows = np.array([items.row_of.get(item, -1) for item in history.items])
    usable = item_rows >= 0
    popularity = np.bincount(item_rows[~history.held_out & usable], minlength=len(items.row_of)).astype(np.float64)
    recalls: dict[str, list[float]] = {"wals_spark": [], "popularity": []}
    for user, row in users.row_of.items():
        own = (history.users == user) & usable
        seen, wanted = item_rows[own & ~history.held_out], item_rows[own & history.held_out]
        if not len(wanted):
            continue
        for name, scores in (("wals_spark", items.rows @ users.rows[row]), ("popularity", popularity)):
            hits = np.isin(top_unseen(scores, seen), wanted).sum()
            recalls[name].append(hits / min(TOP, len(wanted)))
    console.print(f"\n[bold]Held-out albums found[/] among the {TOP} recommended to each listener\n")
    table = Table(box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column(f"Recall@{TOP}", justify="right")
    for name, values in recalls.items():
        table.add_row(name, f"{np.mean(values):.3f}")
    console.print(table)


def show_listener(history: Listening, users: Factors, items: Factors) -> None:
    """One listener's history and recommendations, side by side."""
    names = list(items.row_of)
    own = history.users == LISTENER
    played = np.flatnonzero(own & ~history.held_out)
    held_out = set(history.items[own & history.held_out])
    seen = np.array([items.row_of[item] for item in history.items[played]])
    recommended = [names[i] for i in top_unseen(items.rows @ users.rows[users.row_of[LISTENER]], seen)]
    favourites = history.items[played[np.argsort(-history.plays[played], kind="stable")]]
    console.print(f"\n[bold]{LISTENER}[/] played {len(played)} albums; the {TOP} recommended are none of them\n")
    table = Table(box=SIMPLE_HEAD)
    table.add_column("played most")
    table.add_column("recommended")
    table.add_column("and held out")
    for favourite, item in zip_longest(favourites[:TOP], recommended, fillvalue=""):
        table.add_row(favourite, item, "yes" if item in held_out else "")
    console.print(table)


if __name__ == "__main__":
    main()
