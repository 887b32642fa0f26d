"""What an executor does for one block: from the pieces it is given to the pieces it gives, by pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.blocks import InBlock, out_block_from_pieces, received_rows
from wals_spark.half_iteration import BlockSummary, solve_rows, summarize_start
from wals_spark.objective import Objective
from wals_spark.pieces import Piece, by_name_and_peer, cut, join, join_ids, pieces_of
from wals_spark.start import start_factors

Pieces = Iterable[tuple[int, Piece]]
Sent = Iterator[tuple[int, Piece]]
Summaries = dict[tuple[int, int], BlockSummary]
"""By (half-iteration, block): a task that Spark runs twice says the same thing twice."""


class MergedSummaries(AccumulatorParam[Summaries]):
    """Brings the blocks' summaries to the driver with the end of their tasks, at no job of its own."""

    def zero(self, value: Summaries) -> Summaries:  # noqa: ARG002
        """No summaries."""
        return {}

    def addInPlace(self, value1: Summaries, value2: Summaries) -> Summaries:  # noqa: N802  # Spark's name
        """All of both."""
        value1.update(value2)
        return value1


@dataclass(frozen=True)
class HalfIterationTask:
    """All a task needs besides its pieces; half-iteration 0 is the start."""

    number: int
    rank: int
    objective: Objective
    summaries: Accumulator[Summaries]


def start_block(block: int, pieces: Pieces, *, task: HalfIterationTask, side: str, seed: int, scale: float) -> Sent:
    """Draw the factors that training starts from: ids and in-block in, factors out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    ids = join_ids(pieces_of(found, "ids"))
    factors = start_factors(
        ids, rank=task.rank, seed=seed, side=side, scale=scale, positive=task.objective.positive_start
    )
    summary = summarize_start(factors, InBlock.from_pieces(found), task.objective)
    task.summaries.add({(task.number, block): summary})
    return _keyed(block, cut("factors", factors))


def send_block(block: int, pieces: Pieces, *, rank: int) -> Sent:
    """Send each destination the rows it needs: out-block and factors in, received rows out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    factors = join(pieces_of(found, "factors"), np.float32).reshape(-1, rank)
    for destination, rows in out_block_from_pieces(found).items():
        yield from _keyed(destination, cut("received", factors[rows], peer=block))


def solve_block(
    block: int, pieces: Pieces, *, task: HalfIterationTask, gramian: Broadcast[npt.NDArray[np.float64]]
) -> Sent:
    """Solve the rows of a block: in-block and received rows in, factors out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    in_block = InBlock.from_pieces(found)
    received = received_rows(found, in_block, task.rank)
    found.clear()
    result = solve_rows(in_block, received, gramian.value, task.objective)
    task.summaries.add({(task.number, block): result.summary})
    return _keyed(block, cut("factors", result.factors))


def _keyed(block: int, pieces: Iterable[Piece]) -> Sent:
    return ((block, piece) for piece in pieces)
