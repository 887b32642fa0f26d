"""Half-iterations over blocks: send factors, solve rows, add up the loss; nothing per user or item on the driver."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from py4j.protocol import Py4JJavaError
from pyspark import Accumulator, Broadcast, SparkContext

from wals_spark.config import Train
from wals_spark.convergence import gain_is_small, refuse_rising_loss
from wals_spark.errors import TrainingError
from wals_spark.events import HalfIteration
from wals_spark.gramian import merged
from wals_spark.half_iteration import CHOLESKY, BlockSummary, Solver
from wals_spark.histogram import Histogram
from wals_spark.objective import Loss, Objective
from wals_spark.schedule import last_solver, solver_of
from wals_spark.spark.rdd import Keyed, by_block, compute, free, free_shuffles, kept, side_by_side
from wals_spark.spark.sides import BlockedSide
from wals_spark.spark.tasks import (
    HalfIterationTask,
    MergedSummaries,
    Summaries,
    send_block,
    send_item_weights,
    solve_block,
    start_block,
    weigh_block,
)

logger = logging.getLogger("wals_spark")

Matrix = npt.NDArray[np.float64]

_ATTEMPTS = 3

Inspect = Callable[[int, Keyed, Keyed], None]
"""Looks at training between two iterations: the iteration that ended, and the factors of users and of items."""


@dataclass(frozen=True)
class Side:
    """A side in training: its weighed blocks, kept in memory, and its factors as they stand (none before its turn).

    ``gramian`` (width, width) and ``penalty`` are of these factors. ``solved_with`` is the broadcast they were solved
    with: Spark sends it along with every task that reads them, so it lives as long as they do.
    """

    blocked: BlockedSide
    in_blocks: Keyed
    out_blocks: Keyed
    gramian: Matrix
    penalty: float = 0.0
    factors: Keyed | None = None
    solved_with: Broadcast[Matrix] | None = None

    def free_blocks(self) -> None:
        """Let Spark drop the blocks."""
        free(self.in_blocks)
        free(self.out_blocks)

    def free_factors(self) -> None:
        """Let Spark drop the factors and what they were solved with."""
        if self.factors is not None:
            free(self.factors)
        if self.solved_with is not None:
            self.solved_with.destroy()


@dataclass(frozen=True)
class Trained:
    """The outcome: factors of both sides, kept until `free`; what happened; why it ended (``max_iter`` or ``tol``)."""

    user_factors: Keyed
    item_factors: Keyed
    events: list[HalfIteration]
    stopped_by: str

    def free(self) -> None:
        """Let Spark drop the factors."""
        free(self.user_factors)
        free(self.item_factors)


def train(
    sc: SparkContext,
    users: BlockedSide,
    items: BlockedSide,
    settings: Train,
    objectives: Mapping[str, Objective],
    report: Callable[[list[HalfIteration]], None],
    describe: Callable[[Histogram], None] = lambda _: None,
    inspect: Inspect = lambda *_: None,
) -> Trained:
    """Train from the start until ``max_iter`` or ``tol``.

    ``objectives`` has what is minimised for the rows of ``users`` and of ``items``: one objective, with the λ of each
    side. Before the first half-iteration ``describe`` is given what the observations weigh; after each, ``report`` all
    events so far; after each iteration but the last, ``inspect`` the iteration's number and the factors of users and of
    items as they stand. What it raises ends training.

    Factors are kept on the executors without their history, so that the 200th iteration runs as the tenth did. If
    an executor is lost with factors nobody else has, training begins again from the blocks, which are on storage,
    and finds the same model.

    Raises
    ------
    TrainingError
        If the loss rises or a row has no finite solution: which half-iteration, and which id.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        training = _Training(sc, settings, objectives, report, describe, inspect)
        try:
            return training.run(users, items)
        except (Py4JJavaError, _LostSummaryError) as error:
            training.free()
            lost = isinstance(error, _LostSummaryError) or "CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND" in str(error)
            if not lost or attempt == _ATTEMPTS:
                raise
            logger.warning(
                "factors were lost with an executor; training begins again from the blocks (attempt %d of %d)",
                attempt + 1,
                _ATTEMPTS,
            )
        except BaseException:
            training.free()
            raise
    raise AssertionError("unreachable")


class _LostSummaryError(TrainingError):
    """A block's rows are there and its summary is not.

    Spark repeated a task whose result had been kept already, so its work was not done again and not reported.
    """


class _Training:
    """One attempt, from the start to the end."""

    def __init__(
        self,
        sc: SparkContext,
        settings: Train,
        objectives: Mapping[str, Objective],
        report: Callable[[list[HalfIteration]], None],
        describe: Callable[[Histogram], None],
        inspect: Inspect,
    ) -> None:
        self.sc = sc
        self.settings = settings
        self.objectives = objectives
        self.report = report
        self.describe = describe
        self.inspect = inspect
        self.name = uuid.uuid4().hex
        self.mapping = True
        self.planned = 2 * settings.max_iter
        self.summaries: Accumulator[Summaries] = sc.accumulator({}, MergedSummaries())
        self.sides: dict[str, Side] = {}

    def run(self, users: BlockedSide, items: BlockedSide) -> Trained:
        self.sides = {"users": self._opened(users, items), "items": self._opened(items)}
        first = self.settings.first_side
        second = "items" if first == "users" else "users"
        self._start(second)
        events: list[HalfIteration] = []
        stopped_by = "max_iter"
        for number in range(1, self.planned + 1):
            solved, fixed = (first, second) if number % 2 else (second, first)
            solver = solver_of(self.settings, number)
            events.append(self._half_iteration(number, solved, fixed, solver))
            refuse_rising_loss(events, self.settings.solver)
            if gain_is_small(events, self.settings.tol):
                stopped_by = "tol"
                if solver != last_solver(self.settings):
                    events[-1] = self._half_iteration(number, solved, fixed, last_solver(self.settings))
            self.report(events)
            if stopped_by == "tol":
                break
            if number % 2 == 0 and number < self.planned:
                self.inspect(number // 2, self._factors("users"), self._factors("items"))
        for side in self.sides.values():
            side.free_blocks()
        return Trained(self._factors("users"), self._factors("items"), events, stopped_by)

    def free(self) -> None:
        for side in self.sides.values():
            side.free_blocks()
            side.free_factors()

    def _factors(self, name: str) -> Keyed:
        factors = self.sides[name].factors
        if factors is None:
            raise RuntimeError(f"{name} have no factors yet")
        return factors

    def _opened(self, blocked: BlockedSide, items: BlockedSide | None = None) -> Side:
        """A side's blocks, weighed. Users get the weights of their items from ``items``, where items have any."""
        width = self.settings.width
        objective = self.objectives[blocked.name]
        pieces = blocked.pieces("in")
        if items is not None and objective.item_weight.function != "none":
            sent = side_by_side(items.pieces("in"), items.pieces("out")).mapPartitionsWithIndex(
                partial(send_item_weights, objective=objective)
            )
            pieces = side_by_side(pieces, by_block(sent, blocked.n_blocks))
        weighed = pieces.mapPartitionsWithIndex(
            partial(weigh_block, side=blocked.name, objective=objective), preservesPartitioning=True
        )
        return Side(blocked, kept(weighed), kept(blocked.pieces("out")), gramian=np.zeros((width, width)))

    def _start(self, name: str) -> None:
        """Give a side the factors that the first half-iteration holds fixed."""
        side, settings = self.sides[name], self.settings
        self.sc.setJobDescription(f"start: draw {name}")
        start = partial(start_block, task=self._task(0, name), settings=settings)
        pieces = side_by_side(side.blocked.pieces("ids"), side.in_blocks)
        factors = pieces.mapPartitionsWithIndex(start, preservesPartitioning=True)
        parts = self._replace_factors(name, factors, self._computed(factors, 0, name), 0)
        self._warn_of_threads(max(part.blas_threads for part in parts.values()))
        self.describe(Histogram.merged(part.weights for _, part in sorted(parts.items()) if part.weights is not None))

    def _warn_of_threads(self, most: int) -> None:
        cores = int(self.sc.getConf().get("spark.task.cpus", "1") or 1)
        if most > cores:
            logger.warning(
                "NumPy's BLAS runs %d threads in a task that has %d core(s), so tasks get in each other's way. "
                "Set OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS) to %d in the driver's environment, or "
                "spark.executorEnv.OPENBLAS_NUM_THREADS before Spark starts",
                most,
                cores,
                cores,
            )

    def _half_iteration(self, number: int, solved: str, fixed: str, solver: Solver) -> HalfIteration:
        began = time.perf_counter()
        sides = self.sides
        self.sc.setJobDescription(f"half-iteration {number}/{self.planned}: solve {solved}")
        gramian = self.sc.broadcast(sides[fixed].gramian)
        sent = side_by_side(sides[fixed].out_blocks, self._factors(fixed)).mapPartitionsWithIndex(
            partial(send_block, width=self.settings.width)
        )
        received = by_block(sent, sides[solved].blocked.n_blocks)
        stand = sides[solved].factors
        warm = (stand,) if stand is not None and solver.needs_start else ()
        # Spark runs a task where its factors are, and from the third half-iteration on its block is there, too.
        for mapped in (True, False) if number > 2 and warm and self.mapping else (False,):
            solve = partial(solve_block, task=self._task(number, solved, solver, mapped=mapped), gramian=gramian)
            blocks = () if mapped else (sides[solved].in_blocks,)
            pieces = side_by_side(*blocks, received, *warm)
            factors = pieces.mapPartitionsWithIndex(solve, preservesPartitioning=True)
            found = self._computed(factors, number, solved)
            if None not in found.values():
                break
            free(factors)
            self.mapping = False
            logger.info("tasks are run away from their blocks, so blocks are sent to them from now on")
        parts = self._replace_factors(solved, factors, found, number, gramian)
        free_shuffles(received)

        loss = Loss(
            observed=sum(parts[block].observed for block in sorted(parts)),
            unobserved=self.objectives[solved].unobserved_weight
            * float(np.vdot(sides[solved].gramian, sides[fixed].gramian)),
            penalty=sides["users"].penalty + sides["items"].penalty,
        )
        rows = sum(part.rows for part in parts.values())
        solving = sum(part.seconds for part in parts.values())
        return HalfIteration(number, self.planned, solved, rows, time.perf_counter() - began, loss, solving)

    def _task(self, number: int, side: str, solver: Solver = CHOLESKY, *, mapped: bool = False) -> HalfIterationTask:
        return HalfIterationTask(number, side, self.objectives[side], self.summaries, solver, self.name, mapped)

    def _computed(self, factors: Keyed, number: int, name: str) -> dict[int, BlockSummary | None]:
        """Compute new factors of a side and cut off their history; what each block says of its own."""
        kept(factors).localCheckpoint()
        compute(factors)
        found = {block: part for (n, block), part in self.summaries.value.items() if n == number}
        self.summaries.value = {}
        missing = self.sides[name].blocked.n_blocks - len(found)
        if missing:
            raise _LostSummaryError(
                f"half-iteration {number}/{self.planned}: {missing} blocks of {name} gave no summary"
            )
        return found

    def _replace_factors(
        self,
        name: str,
        factors: Keyed,
        found: dict[int, BlockSummary | None],
        number: int,
        solved_with: Broadcast[Matrix] | None = None,
    ) -> dict[int, BlockSummary]:
        """Put computed factors in the place of the old ones; their blocks' summaries, all of them there."""
        parts = {block: part for block, part in found.items() if part is not None}
        old = self.sides[name]
        self.sides[name] = replace(
            old,
            factors=factors,
            gramian=merged({block: part.gramian for block, part in parts.items()}, self.settings.width),
            penalty=sum(parts[block].penalty for block in sorted(parts)),
            solved_with=solved_with,
        )
        old.free_factors()
        self._refuse_unsolved(name, number, parts)
        return parts

    def _refuse_unsolved(self, name: str, number: int, parts: dict[int, BlockSummary]) -> None:
        for block, part in sorted(parts.items()):
            if part.failed_row >= 0:
                bad_id = self.sides[name].blocked.id_of(block, part.failed_row)
                raise TrainingError(
                    f"half-iteration {number}/{self.planned}: {name[:-1]} {bad_id!r} cannot be solved: "
                    f"{part.failure}. Raise train.reg_param, or look for extreme ratings of it"
                )
