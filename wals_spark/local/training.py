"""The whole data flow without Spark: blocks as dictionaries, a half-iteration as a loop over them.

It calls the functions that executors run, so laws about them can be tried in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pyarrow as pa

from wals_spark.blocks.assignment import N_BUCKETS, assign_by_cost, bucket_of
from wals_spark.blocks.build import Columns, Duplicates, build_column_block, build_row_block
from wals_spark.blocks.in_out import InBlock, out_block_from_records, out_block_records, received_rows
from wals_spark.blocks.records import Record, cut, group_records
from wals_spark.blocks.weighted import (
    WeightedBlock,
    item_weights,
    item_weights_of_observed,
    positive_counts,
    weight_observations,
)
from wals_spark.objective.objective import Loss, Objective
from wals_spark.run.schedule import solver_of
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import merged
from wals_spark.solvers.half_iteration import CHOLESKY, BlockSummary, Solver, solve_rows, summarize_start
from wals_spark.solvers.heavy_rows import (
    NO_HEAVY_ROWS,
    HeavyParts,
    HeavyRows,
    SplitBlock,
    add_partial_sums,
    address_heavy_parts,
    heavy_part_records,
    heavy_parts_from_records,
    split_heavy_rows,
    sums,
    take_heavy_parts,
)
from wals_spark.solvers.start import Start, start_factors


@dataclass
class Side:
    name: str
    ids: list[pa.Array]
    in_blocks: list[InBlock]
    out_blocks: list[dict[int, np.ndarray]]
    factors: list[np.ndarray] = field(default_factory=list)
    summaries: dict[int, BlockSummary] = field(default_factory=dict)
    weighted: dict[Objective, list[WeightedBlock]] = field(default_factory=dict)

    def gramian(self, width: int) -> np.ndarray:
        return merged({b: s.gramian for b, s in self.summaries.items()}, width)

    def by_id(self) -> dict:
        return {
            i: row
            for ids, factors in zip(self.ids, self.factors, strict=True)
            for i, row in zip(ids.to_pylist(), factors, strict=True)
        }


def build_blocks(
    users, items, ratings, *, user_blocks=1, item_blocks=1, duplicates="sum", timestamps=None, weights=None
):
    """Both sides laid out, through the pieces they travel in."""
    users, items = pa.array(users), pa.array(items)
    ratings = np.asarray(ratings, dtype=np.float64)
    even = np.zeros(N_BUCKETS, dtype=np.int64)
    user_block = assign_by_cost(even, user_blocks)[bucket_of(users)]
    rows = []
    sent: list[list[Record]] = [[] for _ in range(item_blocks)]
    for block in range(user_blocks):
        mask = user_block == block
        layout = build_row_block(
            pa.chunked_array([users.filter(pa.array(mask))]),
            pa.chunked_array([items.filter(pa.array(mask))]),
            ratings[mask],
            n_column_blocks=item_blocks,
            column_blocks=assign_by_cost(even, item_blocks),
            duplicates=duplicates,
            timestamps=None if timestamps is None else np.asarray(timestamps, dtype=np.float64)[mask],
            weights=None if weights is None else np.asarray(weights, dtype=np.float64)[mask],
        )
        rows.append(layout)
        for destination, columns in layout.columns.items():
            sent[destination] += [record._replace(peer=block) for record in columns.records(destination)]
    columns = [build_column_block(Columns.by_source(records), n_row_blocks=user_blocks) for records in sent]
    duplicates_found = Duplicates(sum(r.duplicates.rows for r in rows), sum((r.duplicates.examples for r in rows), ()))
    return _side("users", rows), _side("items", columns), duplicates_found


def _side(name, layouts) -> Side:
    return Side(
        name=name,
        ids=[layout.ids for layout in layouts],
        in_blocks=[InBlock.from_records(group_records(layout.in_block.records())) for layout in layouts],
        out_blocks=[out_block_from_records(group_records(out_block_records(layout.out_block))) for layout in layouts],
    )


def start(side: Side, objective: Objective, *, rank: int, seed: int = 0, scale: float = 1.0, positive=False) -> None:
    drawn_from = Start(rank, seed, scale, positive)
    factors = [start_factors(ids, drawn_from, side=side.name, held=objective.held) for ids in side.ids]
    set_factors(side, factors, objective)


def set_factors(side: Side, factors: list[np.ndarray], objective: Objective) -> None:
    """Give a side factors from anywhere."""
    side.factors = factors
    unweighted = replace(objective, item_weight=replace(objective.item_weight, function="none"))  # for Λ alone
    blocks = [weight_observations(block, unweighted) for block in side.in_blocks]
    parts = zip(factors, blocks, strict=True)
    side.summaries = {number: summarize_start(rows, block, objective) for number, (rows, block) in enumerate(parts)}


def weighted(side: Side, other: Side, objective: Objective) -> list[WeightedBlock]:
    """A side's blocks with all that the objective says of them, as executors weigh them before they train."""
    if objective not in side.weighted:
        inbox = sent(other, [item_weights(b, objective)[:, None] for b in other.in_blocks], len(side.in_blocks))
        blocks = [
            weight_observations(b, objective, item_weights_of_observed(b, side.name, objective, group_records(records)))
            for b, records in zip(side.in_blocks, inbox, strict=True)
        ]
        side.weighted[objective] = [WeightedBlock.from_records(group_records(b.records())) for b in blocks]
    return side.weighted[objective]


def sent(fixed: Side, rows: list[np.ndarray], n_destinations: int) -> list[list[Record]]:
    """What each destination block gets of ``rows``, of which every block of the fixed side has some."""
    inbox: list[list[Record]] = [[] for _ in range(n_destinations)]
    for source, out_block in enumerate(fixed.out_blocks):
        for destination, needed in out_block.items():
            inbox[destination] += cut("received", rows[source][needed], peer=source)
    return inbox


def spread(fixed: Side, blocks: list[WeightedBlock], row_limit: int) -> tuple[list[SplitBlock], Side, list[HeavyParts]]:
    """Blocks divided, the fixed side with its shorter out-blocks, and its shares, through the pieces they travel in."""
    split = [split_heavy_rows(block, row_limit) for block in blocks]
    inbox: list[list[Record]] = [[] for _ in fixed.out_blocks]
    for number, parts in enumerate(split):
        for source, record in address_heavy_parts(number, parts.records()):
            inbox[source].append(record)
    taken_by = [take_heavy_parts(group_records(inbox[n]), out_block) for n, out_block in enumerate(fixed.out_blocks)]
    shares = [heavy_parts_from_records(group_records(heavy_part_records(shares))) for _, shares in taken_by]
    return split, replace(fixed, out_blocks=[out_block for out_block, _ in taken_by]), shares


def half_iteration(
    solved: Side, fixed: Side, objective: Objective, solver: Solver = CHOLESKY, *, row_limit: int | None = None
) -> Loss:
    """Solve one side against the other; the exact loss after it. ``objective`` is the solved side's."""
    width = fixed.factors[0].shape[1]
    gramian = fixed.gramian(width)
    blocks = weighted(solved, fixed, objective)
    arrived: list[list[Record]] = [[] for _ in blocks]
    rows_spread = [NO_HEAVY_ROWS] * len(blocks)
    if row_limit is not None:
        split, fixed, shares = spread(fixed, blocks, row_limit)
        for source, rows in enumerate(fixed.factors):
            for destination, share in shares[source].items():
                arrived[destination] += cut(
                    "sums", sums(share, rows, objective.unobserved_weight_in_confidence), peer=source
                )
        records = [group_records(parts.records()) for parts in split]
        blocks = [WeightedBlock.from_records(found) for found in records]
        rows_spread = [HeavyRows.from_records(found) for found in records]
    inbox = sent(fixed, fixed.factors, len(blocks))
    current, solved.factors = solved.factors, []
    for number, block in enumerate(blocks):
        received = received_rows(group_records(inbox[number]), block.offsets, width)
        added_up = add_partial_sums(rows_spread[number], group_records(arrived[number]).get("sums", {}), width)
        start_rows = current[number] if current else None
        result = solve_rows(block, received, gramian, objective, solver, start_rows, added_up, overwrite_received=True)
        assert result.summary.failed_row < 0, result.summary.failure
        solved.factors.append(result.factors)
        solved.summaries[number] = result.summary
    observed = sum(s.observed for s in solved.summaries.values())
    penalty = sum(s.penalty for side in (solved, fixed) for s in side.summaries.values())
    unobserved = objective.unobserved_weight * float(np.vdot(solved.gramian(width), gramian))
    return Loss(observed, unobserved, penalty)


def train(config: Config, users, items, ratings, *, max_iter: int, weights=None) -> tuple[dict, dict]:
    """What the job does with a configuration, in two blocks a side: factors of users and of items by id."""
    user_side, item_side, _ = build_blocks(users, items, ratings, user_blocks=2, item_blocks=2, weights=weights)
    sides = {"users": user_side, "items": item_side}
    objectives = config.objectives(
        users=sum(len(ids) for ids in user_side.ids),
        items=sum(len(ids) for ids in item_side.ids),
        mean_rating=float(np.mean(ratings)),  # of rows that are distinct pairs
        largest_item_count=max(int(positive_counts(block).max(initial=0)) for block in item_side.in_blocks),
    )
    settings = msgspec.structs.replace(config.train, max_iter=max_iter)
    first, second = ("users", "items") if settings.first_side == "users" else ("items", "users")
    options = {"rank": settings.rank, "seed": settings.seed, "scale": settings.start_scale}
    start(sides[second], objectives[second], positive=settings.start_options.positive, **options)
    for number in range(1, 2 * max_iter + 1):
        solved, fixed = (first, second) if number % 2 else (second, first)
        half_iteration(sides[solved], sides[fixed], objectives[solved], solver_of(settings, number))
    return user_side.by_id(), item_side.by_id()
