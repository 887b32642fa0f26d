"""The whole data flow without Spark: blocks as dictionaries, a half-iteration as a loop over them.

It calls the functions that executors run, so laws about them can be tried in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from wals_spark.blocks import InBlock, out_block_from_pieces, out_block_pieces, received_rows
from wals_spark.gramian import merged
from wals_spark.half_iteration import BlockSummary, solve_rows, summarize_start
from wals_spark.layout import Columns, Duplicates, lay_out_columns, lay_out_rows
from wals_spark.objective import Loss, Objective
from wals_spark.pieces import Piece, by_name_and_peer, cut
from wals_spark.start import start_factors


def block_of(ids: list, n_blocks: int) -> np.ndarray:
    """Any deterministic spread of ids over blocks will do."""
    return np.array([sum(str(i).encode()) % n_blocks for i in ids], dtype=np.int32)


@dataclass
class Side:
    ids: list[pa.Array]
    in_blocks: list[InBlock]
    out_blocks: list[dict[int, np.ndarray]]
    factors: list[np.ndarray] = field(default_factory=list)
    summaries: dict[int, BlockSummary] = field(default_factory=dict)

    def gramian(self, rank: int) -> np.ndarray:
        return merged({b: s.gramian for b, s in self.summaries.items()}, rank)

    def by_id(self) -> dict:
        return {
            i: row
            for ids, factors in zip(self.ids, self.factors, strict=True)
            for i, row in zip(ids.to_pylist(), factors, strict=True)
        }


def lay_out(users, items, ratings, *, user_blocks=1, item_blocks=1, duplicates="sum", timestamps=None):
    """Both sides laid out, through the pieces they travel in."""
    users, items = pa.array(users), pa.array(items)
    ratings = np.asarray(ratings, dtype=np.float64)
    user_block = block_of(users.to_pylist(), user_blocks)
    item_block = block_of(items.to_pylist(), item_blocks)
    rows = []
    sent: list[list[Piece]] = [[] for _ in range(item_blocks)]
    for block in range(user_blocks):
        mask = user_block == block
        layout = lay_out_rows(
            pa.chunked_array([users.filter(pa.array(mask))]),
            pa.chunked_array([items.filter(pa.array(mask))]),
            item_block[mask],
            ratings[mask],
            n_column_blocks=item_blocks,
            duplicates=duplicates,
            timestamps=None if timestamps is None else np.asarray(timestamps, dtype=np.float64)[mask],
        )
        rows.append(layout)
        for destination, columns in layout.columns.items():
            sent[destination] += [piece._replace(peer=block) for piece in columns.pieces(destination)]
    columns = [lay_out_columns(Columns.by_source(pieces), n_row_blocks=user_blocks) for pieces in sent]
    duplicates_found = Duplicates(sum(r.duplicates.rows for r in rows), sum((r.duplicates.examples for r in rows), ()))
    return _side(rows), _side(columns), duplicates_found


def _side(layouts) -> Side:
    return Side(
        ids=[layout.ids for layout in layouts],
        in_blocks=[InBlock.from_pieces(by_name_and_peer(layout.in_block.pieces())) for layout in layouts],
        out_blocks=[out_block_from_pieces(by_name_and_peer(out_block_pieces(layout.out_block))) for layout in layouts],
    )


def start(side: Side, name: str, objective: Objective, *, rank: int, seed: int = 0, scale: float = 1.0) -> None:
    side.factors = [
        start_factors(ids, rank=rank, seed=seed, side=name, scale=scale, positive=objective.positive_start)
        for ids in side.ids
    ]
    side.summaries = {
        b: summarize_start(f, i, objective) for b, (f, i) in enumerate(zip(side.factors, side.in_blocks, strict=True))
    }


def half_iteration(solved: Side, fixed: Side, objective: Objective, rank: int) -> Loss:
    """Solve one side against the other; the exact loss after it. ``objective`` is the solved side's."""
    gramian = fixed.gramian(rank)
    inbox: list[list[Piece]] = [[] for _ in solved.in_blocks]
    for source, out_block in enumerate(fixed.out_blocks):
        for destination, rows in out_block.items():
            inbox[destination] += cut("received", fixed.factors[source][rows], peer=source)
    solved.factors = []
    for block, in_block in enumerate(solved.in_blocks):
        received = received_rows(by_name_and_peer(inbox[block]), in_block, rank)
        result = solve_rows(in_block, received, gramian, objective)
        assert result.summary.failed_row < 0, result.summary.failure
        solved.factors.append(result.factors)
        solved.summaries[block] = result.summary
    observed = sum(s.observed for s in solved.summaries.values())
    penalty = sum(s.penalty for side in (solved, fixed) for s in side.summaries.values())
    unobserved = objective.unobserved_weight * float(np.vdot(solved.gramian(rank), gramian))
    return Loss(observed, unobserved, penalty)
