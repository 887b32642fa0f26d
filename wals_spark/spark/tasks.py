"""What an executor does for one block: from the pieces it is given to the pieces it gives, by pure functions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyspark import Accumulator, AccumulatorParam, Broadcast

from wals_spark.blas import blas_threads
from wals_spark.blocks import InBlock, OutBlock, out_block_from_pieces, out_block_pieces, received_rows
from wals_spark.config import Train
from wals_spark.half_iteration import CHOLESKY, BlockSummary, Factors, Ints, Solver, solve_rows, summarize_start
from wals_spark.memory import give_back
from wals_spark.normal_equations import Summed
from wals_spark.objective import Objective
from wals_spark.pieces import Piece, Sorted, by_name_and_peer, cut, join, join_ids, pieces_of
from wals_spark.spark.local_files import Left, LocalFiles
from wals_spark.spread import (
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

    With the name of a ``training``, tasks leave files on their machine, factors by the ``turn``. With ``left``, what
    the blocks of the solved and of the fixed side left, a task is sent nothing but rows from other machines.
    """

    number: int
    side: str
    objective: Objective
    summaries: Accumulator[Summaries]
    solver: Solver = CHOLESKY
    training: str = ""
    turn: int = 0
    left: tuple[Left, Left] | None = None


def send_item_weights(block: int, pieces: Pieces, *, objective: Objective) -> Sent:
    """Send each user block the weights of its items: in-block and out-block in, received rows of one number out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    return _sent(block, out_block_from_pieces(found), item_weights(InBlock.from_pieces(found), objective)[:, None])


def weigh_block(block: int, pieces: Pieces, *, side: str, objective: Objective, row_limit: int | None = None) -> Sent:
    """Weigh a block: in-block (and what `send_item_weights` sent a user block) in, weighed block out.

    With a ``row_limit`` the observations of rows that have more come out as parts for the other side (`send_parts`).
    """
    give_back()
    found = by_name_and_peer(piece for _, piece in pieces)
    in_block = InBlock.from_pieces(found)
    multiplier = item_weights_of_observed(in_block, side, objective, found)
    weighed = weigh(in_block, objective, multiplier)
    return _keyed(block, (weighed if row_limit is None else divide(weighed, row_limit)).pieces())


def send_parts(block: int, pieces: Pieces) -> Sent:
    """Send the other side's blocks what they are to sum: what `weigh_block` made in, parts out."""
    return parts_of(block, (piece for _, piece in pieces))


def take_parts(block: int, pieces: Pieces) -> Sent:
    """What a block sends from now on, and what it sums: its out-block and parts in, the shorter one and shares out."""
    found = by_name_and_peer(piece for _, piece in pieces)
    out_block, shares = taken(found, out_block_from_pieces(found))
    return _keyed(block, chain(out_block_pieces(out_block), shares_pieces(shares)))


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
    spread = SpreadRows.from_pieces(found)
    elsewhere = spread.times if len(spread.rows) else None
    summary = summarize_start(factors, WeighedBlock.from_pieces(found), task.objective, elsewhere)
    task.summaries.add({(task.number, block): replace(summary, blas_threads=blas_threads())})
    return _keyed(block, cut("factors", factors))


def send_block(block: int, pieces: Pieces, *, width: int, carried: float) -> Sent:
    """Send each destination the rows and the sums it needs: out-block, shares and factors in, these out.

    ``carried`` is the solved side's objective's.
    """
    found = by_name_and_peer(piece for _, piece in pieces)
    factors = join(pieces_of(found, "factors"), np.float32).reshape(-1, width)
    rows = _sent(block, out_block_from_pieces(found), factors)
    return chain(rows, _sent_sums(block, shares_from_pieces(found), factors, carried))


def send_left_rows(block: int, pieces: Pieces, *, fixed: Left, destinations: Left, carried: float) -> Sent:
    """Send the destinations on other machines the rows they need, and all their sums, of what this block left here.

    If that is gone nothing is sent, and `solve_block` finds so.
    """
    deque(pieces, maxlen=0)  # there are none; Spark wants them read
    with suppress(FileNotFoundError):
        files = LocalFiles.at(fixed.places[block])
        host, factors = files.place.host, files.factors(fixed.turn)
        away = {to: rows for to, rows in files.out_block().items() if destinations.places[to].host != host}
        return chain(_sent(block, away, factors), _sent_sums(block, files.shares(), factors, carried))
    return iter(())


def solve_block(
    block: int, pieces: Pieces, *, task: HalfIterationTask, gramian: Broadcast[npt.NDArray[np.float64]]
) -> Sent:
    """Solve the rows of a block: weighed block, received rows and, for steps, factors as they stand in; factors out.

    With ``task.training`` the out-block and shares come in, too, and all is left on this machine, where the
    half-iterations after it can map it.
    """
    give_back()
    found = by_name_and_peer(piece for _, piece in pieces)
    width = len(gramian.value)
    if task.left is None:
        given = _as_sent(block, found, task, width)
    else:
        try:
            given = _as_left(block, found, *task.left, width)
        except FileNotFoundError:
            task.summaries.add({(task.number, block): None})
            return iter(())
    found.clear()
    give_back()
    began = time.perf_counter()
    stand = given.start if task.solver.needs_start else None
    system = (given.weighed, given.received, gramian.value, task.objective)
    result = solve_rows(*system, task.solver, stand, given.summed, overwrite_received=True)
    summary = replace(result.summary, seconds=time.perf_counter() - began)
    if given.files is not None:
        given.files.save_factors(result.factors, task.turn)
        summary = replace(summary, place=given.files.place)
    task.summaries.add({(task.number, block): summary})
    return _keyed(block, cut("factors", result.factors))


class _Given(NamedTuple):
    """What a block is solved with."""

    files: LocalFiles | None
    weighed: WeighedBlock
    received: Factors
    start: Factors | None
    summed: Summed | None


def _as_sent(block: int, found: Sorted, task: HalfIterationTask, width: int) -> _Given:
    weighed, spread = WeighedBlock.from_pieces(found), SpreadRows.from_pieces(found)
    stand = pieces_of(found, "factors")
    start = join(stand, np.float32).reshape(-1, width) if stand else None
    files = LocalFiles.of(task.training, task.side, block) if task.training else None
    if files is not None:
        files.save_blocks(weighed, out_block_from_pieces(found), spread, shares_from_pieces(found))
    received = received_rows(found, weighed.offsets, width)
    return _Given(files, weighed, received, start, summed(spread, found.get("sums", {}), width))


def _as_left(block: int, found: Sorted, stood: Left, fixed: Left, width: int) -> _Given:
    """FileNotFoundError if some of it is not here."""
    files = LocalFiles.at(stood.places[block])
    weighed = files.weighed()
    sources = set(np.flatnonzero(np.diff(weighed.offsets)).tolist()).difference(found.get("received", {}))
    received = received_rows(found, weighed.offsets, width, at_hand=_at_hand(block, fixed, sources))
    added_up = summed(files.spread(), found.get("sums", {}), width)
    return _Given(files, weighed, received, files.factors(stood.turn), added_up)


def _at_hand(block: int, fixed: Left, sources: Iterable[int]) -> Iterator[tuple[int, Factors, Ints]]:
    """What `received_rows` takes of source blocks that left it here; one at a time is mapped."""
    for source in sources:
        files = LocalFiles.at(fixed.places[source])
        yield source, files.factors(fixed.turn), files.out_block()[block]


def _sent(block: int, out_block: OutBlock, rows: npt.NDArray[Any]) -> Sent:
    """To each destination those of a block's rows that it needs."""
    for destination, needed in out_block.items():
        yield from _keyed(destination, cut("received", rows[needed], peer=block))


def _sent_sums(block: int, shares: Shares, factors: Factors, carried: float) -> Sent:
    """To each destination what a block's share of its spread rows adds up to."""
    for destination, share in shares.items():
        yield from _keyed(destination, cut("sums", sums(share, factors, carried), peer=block))


def _keyed(block: int, pieces: Iterable[Piece]) -> Sent:
    return ((block, piece) for piece in pieces)
