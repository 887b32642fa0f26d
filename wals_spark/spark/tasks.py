"""What an executor does for one block: from the pieces it is given to the pieces it gives, by pure functions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.blas import blas_threads
from wals_spark.blocks import InBlock, out_block_from_pieces, received_rows
from wals_spark.config import Train
from wals_spark.half_iteration import CHOLESKY, BlockSummary, Solver, solve_rows, summarize_start
from wals_spark.objective import Objective
from wals_spark.pieces import Piece, Sorted, by_name_and_peer, cut, join, join_ids, pieces_of
from wals_spark.spark.local_blocks import open_block, save_block
from wals_spark.start import start_factors
from wals_spark.weighing import WeighedBlock, item_weights, item_weights_of_observed, weigh

Pieces = Iterable[tuple[int, Piece]]
Sent = Iterator[tuple[int, Piece]]
Summaries = dict[tuple[int, int], BlockSummary | None]
"""By (half-iteration, block): a task that Spark runs twice says the same thing twice. None: its block is elsewhere."""


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
    """All a task needs besides its pieces; half-iteration 0 is the start.

    ``training`` is a name that no other training has, under which its blocks are saved; empty: they are not.
    ``mapped``: the block is not sent but on the task's machine.
    """

    number: int
    side: str
    objective: Objective
    summaries: Accumulator[Summaries]
    solver: Solver = CHOLESKY
    training: str = ""
    mapped: bool = False


def send_item_weights(block: int, pieces: Pieces, *, objective: Objective) -> Sent:
    """Send each user block the weights of its items: in-block and out-block in, received rows of one number out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    return _sent(block, found, item_weights(InBlock.from_pieces(found), objective)[:, None])


def weigh_block(block: int, pieces: Pieces, *, side: str, objective: Objective) -> Sent:
    """Weigh a block: in-block (and what `send_item_weights` sent a user block) in, weighed block out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    in_block = InBlock.from_pieces(found)
    multiplier = item_weights_of_observed(in_block, side, objective, found)
    return _keyed(block, weigh(in_block, objective, multiplier).pieces())


def start_block(block: int, pieces: Pieces, *, task: HalfIterationTask, settings: Train) -> Sent:
    """Draw the factors that training starts from: ids and weighed block in, factors out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    factors = start_factors(
        join_ids(pieces_of(found, "ids")),
        rank=settings.rank,
        seed=settings.seed,
        side=task.side,
        scale=settings.start_scale,
        positive=settings.positive_start,
        held=task.objective.held,
    )
    summary = summarize_start(factors, WeighedBlock.from_pieces(found), task.objective)
    task.summaries.add({(task.number, block): replace(summary, blas_threads=blas_threads())})
    return _keyed(block, cut("factors", factors))


def send_block(block: int, pieces: Pieces, *, width: int) -> Sent:
    """Send each destination the rows it needs: out-block and factors in, received rows out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    return _sent(block, found, join(pieces_of(found, "factors"), np.float32).reshape(-1, width))


def solve_block(
    block: int, pieces: Pieces, *, task: HalfIterationTask, gramian: Broadcast[npt.NDArray[np.float64]]
) -> Sent:
    """Solve the rows of a block: weighed block, received rows and, for steps, factors as they stand in; factors out.

    A block that is sent is saved on this machine, where the half-iterations after it can map it.
    """
    found = by_name_and_peer(piece for _, piece in pieces)
    name = f"{task.side}-{block}"
    weighed = open_block(name, task.training) if task.mapped else WeighedBlock.from_pieces(found)
    if weighed is None:
        task.summaries.add({(task.number, block): None})
        return iter(())
    if task.training and not task.mapped:
        save_block(weighed, name, task.training)
    width = len(gramian.value)
    received = received_rows(found, weighed.offsets, width)
    stand = pieces_of(found, "factors")
    start = join(stand, np.float32).reshape(-1, width) if stand else None
    found.clear()
    began = time.perf_counter()
    result = solve_rows(weighed, received, gramian.value, task.objective, task.solver, start)
    summary = replace(result.summary, seconds=time.perf_counter() - began)
    task.summaries.add({(task.number, block): summary})
    return _keyed(block, cut("factors", result.factors))


def _sent(block: int, found: Sorted, rows: npt.NDArray[Any]) -> Sent:
    """To each destination of the block's out-block, those of its rows that it needs."""
    for destination, needed in out_block_from_pieces(found).items():
        yield from _keyed(destination, cut("received", rows[needed], peer=block))


def _keyed(block: int, pieces: Iterable[Piece]) -> Sent:
    return ((block, piece) for piece in pieces)
