"""Measures whether the 200th iteration takes as long as the 10th, on the demo's data.

    .venv/bin/python scripts/endurance.py [ITERATIONS]

Prints the median seconds of iterations 11 to 20 and of the last ten, and their ratio. A ratio above 1 would mean that
something grows with the iterations: a lineage, a cache, a table on the driver.
"""

from __future__ import annotations

import statistics
import sys

import wals_spark
from wals_spark.local.synthetic import synthetic_listening


def main(iterations: int) -> None:
    """Train, and compare early and late iterations."""
    history = synthetic_listening()
    columns = (history.users.tolist(), history.items.tolist(), history.plays.tolist())
    with wals_spark.open_session("endurance") as spark:
        plays = spark.createDataFrame(list(zip(*columns, strict=True)), ["user", "item", "rating"])
        model = wals_spark.fit(plays, {"train.rank": 16, "train.max_iter": iterations})
        halves = [event["seconds"] for event in model.events]
    seconds = [first + second for first, second in zip(halves[::2], halves[1::2], strict=True)]
    early, late = (statistics.median(part) for part in (seconds[10:20], seconds[-10:]))
    ratio = late / early
    print(f"iterations 11 to 20: {early:.3f} s each; the last ten of {len(seconds)}: {late:.3f} s; ratio {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
