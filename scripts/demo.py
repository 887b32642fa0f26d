"""The demo: makes a listening history, trains on it with the main job, and recommends with the model, without Spark."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from demo_nights import nights_demo
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from wals_spark import FoldIn
from wals_spark.local.synthetic import Listening, synthetic_listening

FOLDER = Path("build/demo")
TOP = 10
LISTENER = "Zoë García"

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run all of it from the root of the checkout; with ``--nights``, a model that is retrained."""
    parser = argparse.ArgumentParser(description="Train on a small history that is made here, and recommend.")
    parser.add_argument("--nights", type=int, metavar="N", help="instead, retrain a model on N nights, one poisoned")
    nights = parser.parse_args().nights
    if nights is None:
        training_demo()
    else:
        nights_demo(max(nights, 1))


def training_demo() -> None:
    """One training, and what its model recommends."""
    began = time.monotonic()
    history = synthetic_listening()
    write_interactions(history)
    command = ["jobs/train.py", "--config", "conf/demo.toml"]
    console.print(f"\n[bold]Training[/]: python {' '.join(command)}\n")
    status = subprocess.run([sys.executable, *command], check=False).returncode
    if status:
        sys.exit(status)
    version = FOLDER / "model/versions" / (FOLDER / "model/CURRENT").read_text().strip()
    model, listeners = FoldIn.open(version), by_listener(history)
    show_recall(model, listeners)
    show_listener(model, listeners[LISTENER])
    show_files(version)
    console.print(f"\nDone in {time.monotonic() - began:.0f} s. Next: your own data, with conf/train.toml.\n")


def write_interactions(history: Listening) -> None:
    """Write the pairs that are not held out as CSV, to open and look at."""
    path = FOLDER / "interactions.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = ~history.held_out
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["listener", "album", "plays"])
        writer.writerows(zip(history.users[kept], history.items[kept], history.plays[kept], strict=True))
    console.print(
        f"[bold]Data[/]: {kept.sum():,} rows of who played which album how often, {len(set(history.users))} listeners "
        f"with synthetic tastes, two each, in {path}; {history.held_out.sum():,} more held out"
    )


class Listener(NamedTuple):
    """The albums that a listener played, most played first, how often, and those that are held out."""

    albums: list[str]
    plays: list[int]
    held_out: set[str]


def by_listener(history: Listening) -> dict[str, Listener]:
    """The history of each listener."""
    listeners = {}
    for name in np.unique(history.users):
        rows = np.flatnonzero(history.users == name)
        rows = rows[np.argsort(-history.plays[rows], kind="stable")]
        held_out = history.held_out[rows]
        kept = rows[~held_out]
        listeners[str(name)] = Listener(
            history.items[kept].tolist(), history.plays[kept].tolist(), set(history.items[rows[held_out]].tolist())
        )
    return listeners


def recommend(model: FoldIn, listener: Listener) -> list[str]:
    """The albums of highest score that the listener has not played, best first."""
    return [album for album, _ in model.recommend(listener.albums, listener.plays, k=TOP)]


def show_recall(model: FoldIn, listeners: dict[str, Listener]) -> None:
    """Recall@10 on the held-out pairs (hits over the smaller of 10 and the number held out), and popularity's."""
    by_popularity = Counter(album for listener in listeners.values() for album in listener.albums).most_common()
    recalls: dict[str, list[float]] = {"wals_spark": [], "popularity": []}
    for listener in listeners.values():
        if not listener.held_out:
            continue
        popular = [album for album, _ in by_popularity if album not in listener.albums][:TOP]
        for system, albums in (("wals_spark", recommend(model, listener)), ("popularity", popular)):
            recalls[system].append(len(listener.held_out.intersection(albums)) / min(TOP, len(listener.held_out)))
    console.print(f"\n[bold]Held-out albums found[/] among the {TOP} recommended to each listener\n")
    table = Table(box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column(f"Recall@{TOP}", justify="right")
    for system, values in recalls.items():
        table.add_row(system, f"{np.mean(values):.3f}")
    console.print(table)


def show_listener(model: FoldIn, listener: Listener) -> None:
    """One listener's history and recommendations, side by side."""
    console.print(
        f"\n[bold]{LISTENER}[/] played {len(listener.albums)} albums; the {TOP} recommended are none of them\n"
    )
    table = Table(box=SIMPLE_HEAD)
    table.add_column("played most")
    table.add_column("recommended")
    table.add_column("and held out")
    for played, album in zip_longest(listener.albums[:TOP], recommend(model, listener), fillvalue=""):
        table.add_row(played, album, "yes" if album in listener.held_out else "")
    console.print(table)


def show_files(version: Path) -> None:
    """What the model is, and the files that it consists of."""
    manifest = json.loads((version / "manifest.json").read_text(encoding="utf-8"))
    counts, loss = manifest["counts"], manifest["loss"]["total"]
    console.print(
        f"\n[bold]The model[/]: {counts['users']} listeners, {counts['items']} albums, rank {manifest['rank']}, "
        f"loss {loss:,.1f}"
    )
    for path, content in (
        (version / "user_factors", "Parquet: id, features"),
        (version / "item_factors", "Parquet: id, features"),
        (version / "manifest.json", "what it is and how it was made"),
        (version / "events.jsonl", "how the loss fell"),
        (version / "report.html", "the same to look at, in a browser"),
        (FOLDER / "model/CURRENT", "the name of the version to serve"),
    ):
        console.print(f"  {path!s:60} {content}")


if __name__ == "__main__":
    main()
