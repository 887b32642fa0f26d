"""A training in one task, from interactions to factors: for data so small that Spark's jobs would take the time.

The task runs the functions that the tasks of a large training run, on one block per side.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wals_spark.arrays.arrow import as_binary
from wals_spark.arrays.blas import blas_threads
from wals_spark.arrays.features import feature_column
from wals_spark.arrays.heap import freeze_modules
from wals_spark.arrays.histogram import Histogram
from wals_spark.blocks.assignment import Assignment
from wals_spark.blocks.build import build_column_block
from wals_spark.blocks.encoding import GroupedRecords, Record, RecordArrays, group_records, ids_of
from wals_spark.blocks.in_out import InBlock, OutBlock
from wals_spark.local.blocks import LocalSide
from wals_spark.local.half_iteration import UnsolvedRowError, half_iteration, start_side
from wals_spark.objective.objective import Loss, Objective
from wals_spark.solvers.convergence import has_converged
from wals_spark.solvers.half_iteration import Solver
from wals_spark.solvers.start import Start
from wals_spark.spark.training.build import as_batch, rows_of_block, summary_of_items, user_block_of

RESULTS = "name string, payload binary"
"""What `train_blocks` yields: the name of a result and its bytes."""

_SIDES = ("users", "items")
_ROWS_PER_FILE = 100_000  # as in `factor_tables.py`


@dataclass(frozen=True)
class TrainingTask:
    """All that the task needs besides the blocks: ``solvers`` has one per half-iteration, ``last`` ends a training."""

    objectives: Mapping[str, Objective]
    start: Start
    first_side: str
    solvers: tuple[Solver, ...]
    last: Solver
    tol: float


def build_both_sides(
    batches: Iterable[pa.RecordBatch], *, items_to_blocks: Assignment, duplicates: str, max_rows: int
) -> Iterator[pa.RecordBatch]:
    """On an executor: all interactions become the records of one block of users and one of items.

    The kind of a record begins with its side: ``users/in``. There are none if there are no rows, more than
    ``max_rows``, or any of which ``is_odd`` is true.
    """
    n_rows, parts = 0, []
    for batch in batches:
        n_rows += batch.num_rows
        if n_rows > max_rows or pc.any(batch.column("is_odd")).as_py():
            return
        parts.append(batch.select([name for name in batch.schema.names if name != "is_odd"]))
    built = user_block_of(parts, items_to_blocks, duplicates)
    if built is None:
        return
    users, summary = built
    items = build_column_block(users.columns, n_row_blocks=1)
    of_users, of_items = rows_of_block(0, users, summary), rows_of_block(0, items, summary_of_items(items))
    for side, of_side in zip(_SIDES, (of_users, of_items), strict=True):
        for kind, *record in of_side:
            yield as_batch((f"{side}/{kind}", *record))  # type: ignore[arg-type]


def train_blocks(batches: Iterable[pa.RecordBatch], *, task: TrainingTask) -> Iterator[pa.RecordBatch]:
    """On an executor: the records of `build_both_sides` become factors, and what the driver needs to know of them."""
    sides = _sides(batches)
    if sides is None:
        return
    losses: list[float] = []
    first, second = (task.first_side, "items" if task.first_side == "users" else "users")
    start_side(sides[second], task.objectives[second], task.start)
    yield _result("start", _start_of(sides[second]))
    try:
        for number, solver in enumerate(task.solvers, 1):
            solved, fixed = (first, second) if number % 2 else (second, first)
            yield _solved(number, sides[solved], sides[fixed], task.objectives[solved], solver, losses)
            if has_converged(losses, task.tol):
                yield _result("stopped_by", b"tol")
                if solver != task.last:
                    losses.pop()
                    yield _solved(number, sides[solved], sides[fixed], task.objectives[solved], task.last, losses)
                break
    except UnsolvedRowError as error:
        bad_id = sides[solved].ids[error.block][error.row].as_py()
        failure = {"number": number, "side": solved, "id": bad_id, "failure": error.failure}
        yield _result("failure", json.dumps(failure).encode())
        return
    freeze_modules()  # now that the kernels are loaded
    for side in sides.values():
        yield from _tables(side)


def _solved(
    number: int, solved: LocalSide, fixed: LocalSide, objective: Objective, solver: Solver, losses: list[float]
) -> pa.RecordBatch:
    """Solve a side; what the driver makes an event of."""
    began = time.perf_counter()
    loss: Loss = half_iteration(solved, fixed, objective, solver)
    losses.append(loss.total)
    record = {
        "number": number, "side": solved.name, "rows": solved.rows, "loss": list(loss),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return _result("half_iteration", json.dumps(record).encode())


def _sides(batches: Iterable[pa.RecordBatch]) -> dict[str, LocalSide] | None:
    records: dict[str, list[Record]] = {side: [] for side in _SIDES}
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("kind", "name", "peer", "start", "payload"))
        for kind, *record in zip(*columns, strict=True):
            records[kind.partition("/")[0]].append(Record(*record))
    if not records["users"]:
        return None
    return {side: _side(side, group_records(of_side)) for side, of_side in records.items()}


def _side(name: str, grouped: GroupedRecords) -> LocalSide:
    arrays = RecordArrays(grouped)
    return LocalSide(name, [ids_of(grouped)], [InBlock.read(arrays)], [OutBlock.read(arrays)])


def _start_of(side: LocalSide) -> bytes:
    """The distribution of the weights of observations, the constant of the loss, and the threads of the BLAS."""
    (summary,) = side.summaries.values()
    weights = summary.weights if summary.weights is not None else Histogram()
    record = {"weights": weights.as_record(), "constant": summary.constant, "blas_threads": blas_threads()}
    return json.dumps(record).encode()


def _tables(side: LocalSide) -> Iterator[pa.RecordBatch]:
    """The Gramian of a side, and its factor table as Parquet files."""
    (ids,), (factors,), (summary,) = side.ids, side.factors, side.summaries.values()
    yield _result(f"gramian/{side.name}", summary.gramian.tobytes())
    for begin in range(0, len(ids), _ROWS_PER_FILE):
        rows = slice(begin, begin + _ROWS_PER_FILE)
        table = pa.table({"id": ids[rows], "features": feature_column(factors[rows])})
        file = io.BytesIO()
        pq.write_table(table, file)
        yield _result(f"table/{side.name}", file.getvalue())


def _result(name: str, payload: bytes) -> pa.RecordBatch:
    return pa.record_batch([as_binary([name.encode()], pa.string()), as_binary([payload])], names=["name", "payload"])
