"""The whole data flow without Spark: blocks as dictionaries, a half-iteration as a loop over them.

It calls the functions that executors run, so laws about them can be tried in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pyarrow as pa

from wals_spark.blocks import InBlock, out_block_from_pieces, out_block_pieces, received_rows
from wals_spark.buckets import N_BUCKETS, balanced, bucket_of
from wals_spark.confidence import ItemWeight
from wals_spark.config import Config
from wals_spark.gramian import merged
from wals_spark.half_iteration import CHOLESKY, BlockSummary, Solver, solve_rows, summarize_start
from wals_spark.layout import Columns, Duplicates, lay_out_columns, lay_out_rows
from wals_spark.objective import Loss, Objective
from wals_spark.pieces import Piece, by_name_and_peer, cut
from wals_spark.schedule import solver_of
from wals_spark.spread import (
    NONE_SPREAD,
    Divided,
    Shares,
    SpreadRows,
    divide,
    parts_of,
    shares_from_pieces,
    shares_pieces,
    summed,
    sums,
    taken,
)
from wals_spark.start import start_factors
from wals_spark.weighing import WeighedBlock, item_weights, item_weights_of_observed, positive_counts, weigh


@dataclass
class Side:
    name: str
    ids: list[pa.Array]
    in_blocks: list[InBlock]
    out_blocks: list[dict[int, np.ndarray]]
    factors: list[np.ndarray] = field(default_factory=list)
    summaries: dict[int, BlockSummary] = field(default_factory=dict)
    weighed: dict[Objective, list[WeighedBlock]] = field(default_factory=dict)

    def gramian(self, width: int) -> np.ndarray:
        return merged({b: s.gramian for b, s in self.summaries.items()}, width)

    def by_id(self) -> dict:
        return {
            i: row
            for ids, factors in zip(self.ids, self.factors, strict=True)
            for i, row in zip(ids.to_pylist(), factors, strict=True)
        }


def lay_out(users, items, ratings, *, user_blocks=1, item_blocks=1, duplicates="sum", timestamps=None, weights=None):
    """Both sides laid out, through the pieces they travel in."""
    users, items = pa.array(users), pa.array(items)
    ratings = np.asarray(ratings, dtype=np.float64)
    even = np.zeros(N_BUCKETS, dtype=np.int64)
    user_block = balanced(even, user_blocks)[bucket_of(users)]
    rows = []
    sent: list[list[Piece]] = [[] for _ in range(item_blocks)]
    for block in range(user_blocks):
        mask = user_block == block
        layout = lay_out_rows(
            pa.chunked_array([users.filter(pa.array(mask))]),
            pa.chunked_array([items.filter(pa.array(mask))]),
            ratings[mask],
            n_column_blocks=item_blocks,
            column_blocks=balanced(even, item_blocks),
            duplicates=duplicates,
            timestamps=None if timestamps is None else np.asarray(timestamps, dtype=np.float64)[mask],
            weights=None if weights is None else np.asarray(weights, dtype=np.float64)[mask],
        )
        rows.append(layout)
        for destination, columns in layout.columns.items():
            sent[destination] += [piece._replace(peer=block) for piece in columns.pieces(destination)]
    columns = [lay_out_columns(Columns.by_source(pieces), n_row_blocks=user_blocks) for pieces in sent]
    duplicates_found = Duplicates(sum(r.duplicates.rows for r in rows), sum((r.duplicates.examples for r in rows), ()))
    return _side("users", rows), _side("items", columns), duplicates_found


def _side(name, layouts) -> Side:
    return Side(
        name=name,
        ids=[layout.ids for layout in layouts],
        in_blocks=[InBlock.from_pieces(by_name_and_peer(layout.in_block.pieces())) for layout in layouts],
        out_blocks=[out_block_from_pieces(by_name_and_peer(out_block_pieces(layout.out_block))) for layout in layouts],
    )


def start(side: Side, objective: Objective, *, rank: int, seed: int = 0, scale: float = 1.0, positive=False) -> None:
    options = {"rank": rank, "seed": seed, "side": side.name, "scale": scale, "positive": positive}
    set_factors(side, [start_factors(ids, held=objective.held, **options) for ids in side.ids], objective)


def set_factors(side: Side, factors: list[np.ndarray], objective: Objective) -> None:
    """Give a side factors from anywhere."""
    side.factors = factors
    blocks = [weigh(block, replace(objective, item_weight=ItemWeight())) for block in side.in_blocks]  # for Λ alone
    parts = zip(factors, blocks, strict=True)
    side.summaries = {number: summarize_start(rows, block, objective) for number, (rows, block) in enumerate(parts)}


def weighed(side: Side, other: Side, objective: Objective) -> list[WeighedBlock]:
    """A side's blocks with all that the objective says of them, as executors weigh them before they train."""
    if objective not in side.weighed:
        inbox = sent(other, [item_weights(b, objective)[:, None] for b in other.in_blocks], len(side.in_blocks))
        blocks = [
            weigh(b, objective, item_weights_of_observed(b, side.name, objective, by_name_and_peer(pieces)))
            for b, pieces in zip(side.in_blocks, inbox, strict=True)
        ]
        side.weighed[objective] = [WeighedBlock.from_pieces(by_name_and_peer(b.pieces())) for b in blocks]
    return side.weighed[objective]


def sent(fixed: Side, rows: list[np.ndarray], n_destinations: int) -> list[list[Piece]]:
    """What each destination block gets of ``rows``, of which every block of the fixed side has some."""
    inbox: list[list[Piece]] = [[] for _ in range(n_destinations)]
    for source, out_block in enumerate(fixed.out_blocks):
        for destination, needed in out_block.items():
            inbox[destination] += cut("received", rows[source][needed], peer=source)
    return inbox


def spread(fixed: Side, blocks: list[WeighedBlock], row_limit: int) -> tuple[list[Divided], Side, list[Shares]]:
    """Blocks divided, the fixed side with its shorter out-blocks, and its shares, through the pieces they travel in."""
    divided = [divide(block, row_limit) for block in blocks]
    inbox: list[list[Piece]] = [[] for _ in fixed.out_blocks]
    for number, parts in enumerate(divided):
        for source, piece in parts_of(number, parts.pieces()):
            inbox[source].append(piece)
    taken_by = [taken(by_name_and_peer(inbox[n]), out_block) for n, out_block in enumerate(fixed.out_blocks)]
    shares = [shares_from_pieces(by_name_and_peer(shares_pieces(shares))) for _, shares in taken_by]
    return divided, replace(fixed, out_blocks=[out_block for out_block, _ in taken_by]), shares


def half_iteration(
    solved: Side, fixed: Side, objective: Objective, solver: Solver = CHOLESKY, *, row_limit: int | None = None
) -> Loss:
    """Solve one side against the other; the exact loss after it. ``objective`` is the solved side's."""
    width = fixed.factors[0].shape[1]
    gramian = fixed.gramian(width)
    blocks = weighed(solved, fixed, objective)
    arrived: list[list[Piece]] = [[] for _ in blocks]
    rows_spread = [NONE_SPREAD] * len(blocks)
    if row_limit is not None:
        divided, fixed, shares = spread(fixed, blocks, row_limit)
        for source, rows in enumerate(fixed.factors):
            for destination, share in shares[source].items():
                arrived[destination] += cut("sums", sums(share, rows, objective.carried), peer=source)
        pieces = [by_name_and_peer(parts.pieces()) for parts in divided]
        blocks = [WeighedBlock.from_pieces(found) for found in pieces]
        rows_spread = [SpreadRows.from_pieces(found) for found in pieces]
    inbox = sent(fixed, fixed.factors, len(blocks))
    stand, solved.factors = solved.factors, []
    for number, block in enumerate(blocks):
        received = received_rows(by_name_and_peer(inbox[number]), block.offsets, width)
        added_up = summed(rows_spread[number], by_name_and_peer(arrived[number]).get("sums", {}), width)
        start_rows = stand[number] if stand else None
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
    user_side, item_side, _ = lay_out(users, items, ratings, user_blocks=2, item_blocks=2, weights=weights)
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
    start(sides[second], objectives[second], positive=settings.positive_start, **options)
    for number in range(1, 2 * max_iter + 1):
        solved, fixed = (first, second) if number % 2 else (second, first)
        half_iteration(sides[solved], sides[fixed], objectives[solved], solver_of(settings, number))
    return user_side.by_id(), item_side.by_id()
