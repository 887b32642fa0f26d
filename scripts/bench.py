"""Trains wals_spark and its peers on the same rows and cores, in turn: seconds per iteration, and seconds to a loss.

Each system runs in a process of its own, which warms up by short trainings on the same rows (on Spark four, else one)
before the training that is timed. All minimise

    Σ_all c (p − x·y)² + λ Σ n |x|²        c = 1 + 10 ln(1 + r) where observed, λ = 0.1

except `implicit`, which has no λ by count: it gets the λ n of the mean row, and its loss is computed by the formula
above all the same. MLlib gets ln(1 + r) as ratings, the best of three numbers of blocks, and a native BLAS limited to
one thread, if the machine has one (Debian: apt-get install libopenblas0; without it MLlib is slower).

With --crowd a third of the rows are of one item that every user has, and one user has every item;
`ours-without-heavy-rows` is wals_spark without its treatment of such rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow.parquet as pq
from benchmarks.loss import exact_loss
from benchmarks.processes import n_cores, run_in_own_process, save_record, write_json
from benchmarks.results import draw, print_table
from benchmarks.systems import DEFAULT_SYSTEMS, SYSTEMS, train_system
from benchmarks.workload import FOLDER, Workload


def main() -> None:
    """Make the data, run the systems, print and write the results."""
    options = parse_options()
    workload = Workload.of(options)
    if options.run:
        run(options.run, workload)
        return
    workload.write_interactions()
    records = [run_in_own_process(system, FOLDER) for system in options.systems.split(",")]
    print_table(records)
    if options.json:
        write_json(records, options.json)
    if options.picture:
        draw(records, options.picture)


def parse_options() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=9_600_000, help="observations; users and items grow with them")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument(
        "--systems", default=",".join(DEFAULT_SYSTEMS), help=f"comma-separated, of: {', '.join(SYSTEMS)}"
    )
    parser.add_argument("--blocks", type=int, default=0, help="blocks per side of wals_spark; 0: its own choice")
    parser.add_argument("--crowd", action="store_true", help="a third of the rows are of one item")
    parser.add_argument("--json", type=Path, help="file for the records, a list of objects")
    parser.add_argument("--picture", type=Path, help="file for the picture, png or svg")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.systems.split(",")).difference(SYSTEMS))
    if unknown:
        parser.error(f"unknown systems {unknown}")
    if options.iterations < 4 or options.rows < 1000:
        parser.error("at least 1000 rows and 4 iterations are needed")
    return options


def run(system: str, workload: Workload) -> None:
    """Train with one system, in this process, and save its record with the exact loss of its factors."""
    interactions = pq.read_table(workload.path)
    outcome = train_system(system, workload)
    record = {
        "system": system,
        "rows": len(interactions),
        "rank": workload.rank,
        "cores": n_cores(),
        "iterations": workload.iterations,
        **outcome.record,
        "loss": exact_loss(interactions, outcome.users, outcome.items),
    }
    save_record(record, FOLDER)


if __name__ == "__main__":
    main()
