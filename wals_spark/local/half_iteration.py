"""One half-iteration after another, without Spark: the functions that executors run, in a loop over all blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from wals_spark.arrays.types import Float32Array
from wals_spark.blocks.encoding import Record, RecordArrays, cut, group_records, to_records
from wals_spark.blocks.in_out import OutBlock, received_rows
from wals_spark.blocks.weighted import (
    WeightedBlock,
    item_weights,
    item_weights_of_observed,
    weight_observations,
)
from wals_spark.local.blocks import LocalSide, sent_rows
from wals_spark.objective.objective import ItemWeight, Loss, Objective
from wals_spark.solvers.half_iteration import CHOLESKY, Solver, solve_rows, summarize_start
from wals_spark.solvers.heavy_rows import (
    NO_HEAVY_ROWS,
    HeavyParts,
    HeavyRows,
    SplitBlock,
    add_partial_sums,
    address_heavy_parts,
    heavy_part_arrays,
    partial_normal_equations,
    read_heavy_parts,
    split_heavy_rows,
    take_heavy_parts,
)
from wals_spark.solvers.start import Start, start_factors
from wals_spark.solvers.systems import LeastSquares

_NO_ITEM_WEIGHT = ItemWeight("none", exponent=0.0, floor=1.0)


class UnsolvedRowError(ArithmeticError):
    """A row has no finite solution: the number of its block, its own in the block, and why."""

    def __init__(self, block: int, row: int, failure: str) -> None:
        super().__init__(f"row {row} of block {block}: {failure}")
        self.block, self.row, self.failure = block, row, failure


def start_side(side: LocalSide, objective: Objective, start: Start) -> None:
    """Draw the factors that training starts from."""
    set_factors(side, [start_factors(ids, start, side=side.name, held=objective.held) for ids in side.ids], objective)


def set_factors(side: LocalSide, factors: list[Float32Array], objective: Objective) -> None:
    """Give a side factors, one array of shape (n_rows, width) per block."""
    side.factors = factors
    without_weights = replace(objective, item_weight=_NO_ITEM_WEIGHT)  # regularisation alone is needed
    blocks = [weight_observations(block, without_weights) for block in side.in_blocks]
    parts = zip(factors, blocks, strict=True)
    side.summaries = {number: summarize_start(rows, block, objective) for number, (rows, block) in enumerate(parts)}


def weighted_blocks(side: LocalSide, other: LocalSide, objective: Objective) -> list[WeightedBlock]:
    """The weighted blocks of a side, computed once per objective."""
    if objective not in side.weighted:
        weights = [item_weights(block, objective)[:, None] for block in other.in_blocks]
        received = sent_rows(other.out_blocks, weights, len(side.in_blocks))
        blocks = [
            weight_observations(b, objective, item_weights_of_observed(b, side.name, objective, group_records(records)))
            for b, records in zip(side.in_blocks, received, strict=True)
        ]
        side.weighted[objective] = [WeightedBlock.read(_arrays(to_records(block.arrays()))) for block in blocks]
    return side.weighted[objective]


def split_blocks(
    out_blocks: Sequence[OutBlock], blocks: Sequence[WeightedBlock], row_limit: int
) -> tuple[list[SplitBlock], list[OutBlock], list[HeavyParts]]:
    """Split heavy rows; also the fixed side's out-blocks that are left, and its heavy parts."""
    split = [split_heavy_rows(block, row_limit) for block in blocks]
    received: list[list[Record]] = [[] for _ in out_blocks]
    for number, block in enumerate(split):
        for source, record in address_heavy_parts(number, to_records(block.arrays())):
            received[source].append(record)
    taken = [take_heavy_parts(_arrays(received[n]), out_block) for n, out_block in enumerate(out_blocks)]
    parts = [read_heavy_parts(_arrays(to_records(heavy_part_arrays(heavy_parts)))) for _, heavy_parts in taken]
    return split, [out_block for out_block, _ in taken], parts


class _Inputs(NamedTuple):
    """What the blocks of a side are solved from: per block, the block, its heavy rows and the records it receives."""

    blocks: list[WeightedBlock]
    heavy: list[HeavyRows]
    rows: list[list[Record]]
    sums: list[list[Record]]


def _inputs(solved: LocalSide, fixed: LocalSide, objective: Objective, row_limit: int | None) -> _Inputs:
    blocks, out_blocks = weighted_blocks(solved, fixed, objective), fixed.out_blocks
    sums: list[list[Record]] = [[] for _ in blocks]
    heavy = [NO_HEAVY_ROWS] * len(blocks)
    if row_limit is not None:
        split, out_blocks, parts = split_blocks(out_blocks, blocks, row_limit)
        for source, factors in enumerate(fixed.factors):
            for destination, part in parts[source].items():
                partial = partial_normal_equations(part, factors, objective.unobserved_weight_in_confidence)
                sums[destination] += cut("partial_sums", partial, peer=source)
        arrays = [_arrays(to_records(block.arrays())) for block in split]
        blocks = [WeightedBlock.read(source) for source in arrays]
        heavy = [HeavyRows.read(source) for source in arrays]
    return _Inputs(blocks, heavy, sent_rows(out_blocks, fixed.factors, len(blocks)), sums)


def half_iteration(
    solved: LocalSide,
    fixed: LocalSide,
    objective: Objective,
    solver: Solver = CHOLESKY,
    *,
    row_limit: int | None = None,
) -> Loss:
    """Solve one side against the other; the exact loss after it. ``objective`` is the solved side's.

    Raises
    ------
    UnsolvedRowError
        If a row has no finite solution.
    """
    width = fixed.factors[0].shape[1]
    gramian = fixed.gramian(width)
    inputs = _inputs(solved, fixed, objective, row_limit)
    current, solved.factors = solved.factors, []
    for number, block in enumerate(inputs.blocks):
        received = received_rows(group_records(inputs.rows[number]), block.offsets, width)
        partial_sums = group_records(inputs.sums[number]).get("partial_sums", {})
        heavy_sums = add_partial_sums(inputs.heavy[number], partial_sums, width)
        result = solve_rows(
            LeastSquares(block, received, gramian, objective),
            solver,
            current=current[number] if current else None,
            heavy_sums=heavy_sums,
            overwrite_received=True,
        )
        if result.summary.failed_row >= 0:
            raise UnsolvedRowError(number, result.summary.failed_row, result.summary.failure)
        solved.factors.append(result.factors)
        solved.summaries[number] = result.summary
    observed = sum(summary.observed for summary in solved.summaries.values())
    penalty = sum(summary.penalty for side in (solved, fixed) for summary in side.summaries.values())
    unobserved = objective.unobserved_weight * float(np.vdot(solved.gramian(width), gramian))
    return Loss(observed, unobserved, penalty)


def _arrays(records: Iterable[Record]) -> RecordArrays:
    return RecordArrays(group_records(records))
