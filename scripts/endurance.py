"""Does the 200th iteration run as the tenth did? Trains on the demo's data and compares the clock of the two.

    .venv/bin/python scripts/endurance.py [ITERATIONS]

Prints the median seconds of iterations 11 to 20 and of the last ten, and their ratio. A rising ratio would mean that
something grows with the iterations: a lineage, a cache, a table of the driver.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wals_spark.local.synthetic import synthetic_listening

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/endurance"


def main(iterations: int) -> None:
    """Run the main job once and read its events."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    history = synthetic_listening()
    table = pa.table({"user": history.users, "item": history.items, "rating": history.plays})
    pq.write_table(table, FOLDER / "interactions.parquet")
    settings = (f"input.path={FOLDER}/interactions.parquet", f"output.path={FOLDER}/model", "train.rank=16",
                f"train.max_iter={iterations}")  # fmt: skip
    subprocess.run([sys.executable, ROOT / "jobs/train.py", *(f"--set={s}" for s in settings)], check=True)
    version = (FOLDER / "model/CURRENT").read_text().strip()
    lines = (FOLDER / "model/versions" / version / "events.jsonl").read_text().splitlines()
    halves = [json.loads(line)["seconds"] for line in lines]
    seconds = [first + second for first, second in zip(halves[::2], halves[1::2], strict=True)]
    early, late = (statistics.median(part) for part in (seconds[10:20], seconds[-10:]))
    ratio = late / early
    print(f"iterations 11 to 20: {early:.3f} s each; the last ten of {len(seconds)}: {late:.3f} s; ratio {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
