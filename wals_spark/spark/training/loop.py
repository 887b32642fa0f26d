"""The training loop: half-iterations until the end, their exact loss, and training again if an executor is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from py4j.protocol import Py4JJavaError

from wals_spark.arrays.histogram import Histogram
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Loss, Objective
from wals_spark.run.convergence import has_converged, refuse_rising_loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.schedule import last_solver, solver_of
from wals_spark.settings.training import ResolvedTrain
from wals_spark.solvers.half_iteration import BlockSummary, Solver
from wals_spark.spark.training.build import Blocks
from wals_spark.spark.training.half_iteration import BlockSolver, LostSummaryError, Side
from wals_spark.spark.training.prepare import prepare_blocks
from wals_spark.spark.training.rdd import KeyedRecords, unpersist
from wals_spark.spark.training.tasks import HalfIterationTask

logger = logging.getLogger("wals_spark")

_MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Listeners:
    """What is called during training; an exception that one raises ends training.

    Attributes
    ----------
    on_weights
        Called before the first half-iteration with the distribution of the weights of observations; again if training
        starts again.
    on_half_iteration
        Called after each half-iteration with all events so far.
    on_iteration
        Called after each iteration but the last with its number and the current factors of users and of items.
    """

    on_weights: Callable[[Histogram], None] = lambda _: None
    on_half_iteration: Callable[[list[HalfIteration]], None] = lambda _: None
    on_iteration: Callable[[int, KeyedRecords, KeyedRecords], None] = lambda *_: None


@dataclass(frozen=True)
class Trained:
    """Factors of both sides, persisted until `unpersist`; the events; why it ended (``max_iter`` or ``tol``)."""

    user_factors: KeyedRecords
    item_factors: KeyedRecords
    events: list[HalfIteration]
    stopped_by: str

    def unpersist(self) -> None:
        """Let Spark drop the factors."""
        unpersist(self.user_factors)
        unpersist(self.item_factors)


def train(
    blocks: Blocks, objectives: Mapping[str, Objective], settings: ResolvedTrain, listeners: Listeners | None = None
) -> Trained:
    """Train from the start until ``max_iter`` or ``tol``.

    ``objectives`` has what is minimised for the rows of ``users`` and of ``items``: one objective, with the λ of each
    side.

    Factors are persisted on the executors without their lineage, so that the 200th iteration runs as the tenth did. If
    an executor is lost with factors that nothing else has, training starts again from the blocks, which are on
    storage, and arrives at the same model.

    Raises
    ------
    TrainingError
        If the loss rises or a row has no finite solution: which half-iteration, and which id.
    """
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        training = _Training(blocks, objectives, settings, listeners or Listeners())
        try:
            return training.run()
        except (Py4JJavaError, LostSummaryError) as error:
            training.unpersist()
            lost = isinstance(error, LostSummaryError) or "CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND" in str(error)
            if not lost or attempt == _MAX_ATTEMPTS:
                raise
            logger.warning(
                "factors were lost with an executor; training starts again from the blocks (attempt %d of %d)",
                attempt + 1,
                _MAX_ATTEMPTS,
            )
        except BaseException:
            training.unpersist()
            raise
    raise AssertionError("unreachable")


class _Training:
    """One attempt, from the start to the end."""

    def __init__(
        self, blocks: Blocks, objectives: Mapping[str, Objective], settings: ResolvedTrain, listeners: Listeners
    ) -> None:
        self.blocks = blocks
        self.objectives = objectives
        self.settings = settings
        self.listeners = listeners
        self.sc = blocks.users.spark.sparkContext
        self.solver = BlockSolver(self.sc)
        self.constant = 0.0  # of the loss: Σ k, the observed loss where all scores are 0
        self.step = 0  # counts solves, of which the last half-iteration may take two
        self.planned = 2 * settings.max_iter
        self.sides: dict[str, Side] = {}

    def run(self) -> Trained:
        users, items, settings = self.blocks.users, self.blocks.items, self.settings
        prepared = prepare_blocks(users, items, self.objectives, heavy_row_threshold=settings.heavy_row_threshold)
        no_rows = np.zeros((settings.width, settings.width))
        self.sides = {side.name: Side(side, prepared[side.name], no_rows) for side in (users, items)}
        first = settings.first_side
        second = "items" if first == "users" else "users"
        self._start(second)
        events: list[HalfIteration] = []
        stopped_by = "max_iter"
        for number in range(1, self.planned + 1):
            solved, fixed = (first, second) if number % 2 else (second, first)
            solver = solver_of(settings, number)
            events.append(self._half_iteration(number, solved, fixed, solver))
            refuse_rising_loss(events, settings.solver, constant=self.constant)
            if has_converged(events, settings.tol):
                stopped_by = "tol"
                if solver != last_solver(settings):
                    events[-1] = self._half_iteration(number, solved, fixed, last_solver(settings))
            self.listeners.on_half_iteration(events)
            if stopped_by == "tol":
                break
            if number % 2 == 0 and number < self.planned:
                user_factors, item_factors = (self.sides[name].current_factors for name in ("users", "items"))
                self.listeners.on_iteration(number // 2, user_factors, item_factors)
        for side in self.sides.values():
            side.unpersist_blocks()
        user_factors, item_factors = (self.sides[name].current_factors for name in ("users", "items"))
        return Trained(user_factors, item_factors, events, stopped_by)

    def unpersist(self) -> None:
        for side in self.sides.values():
            side.unpersist_blocks()
            side.unpersist_factors()

    def _start(self, name: str) -> None:
        """Draw the factors of the side that the first half-iteration holds fixed."""
        self.sc.setJobDescription(f"start: draw {name}")
        side = self.sides[name]
        task = HalfIterationTask(0, name, self.objectives[name], self.solver.summaries)
        solved = self.solver.start(side, task, self.settings.start_options)
        self.sides[name], parts = side.with_factors(solved, 0)
        self._warn_of_threads(max(part.blas_threads for part in parts.values()))
        weights = (part.weights for _, part in sorted(parts.items()) if part.weights is not None)
        self.constant = sum(part.constant for part in parts.values())
        self.listeners.on_weights(Histogram.merged(weights))

    def _warn_of_threads(self, n_threads: int) -> None:
        cores = int(self.sc.getConf().get("spark.task.cpus", "1") or 1)
        if n_threads > cores:
            logger.warning(
                "NumPy's BLAS runs %d threads in a task that has %d core(s), so tasks compete for cores. Set "
                "OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS) to %d in the driver's environment, or "
                "spark.executorEnv.OPENBLAS_NUM_THREADS before Spark starts",
                n_threads,
                cores,
                cores,
            )

    def _half_iteration(self, number: int, solved: str, fixed: str, solver: Solver) -> HalfIteration:
        began = time.perf_counter()
        self.sc.setJobDescription(f"half-iteration {number}/{self.planned}: solve {solved}")
        self.step += 1
        side, other, objective = self.sides[solved], self.sides[fixed], self.objectives[solved]
        task = HalfIterationTask(number, solved, objective, self.solver.summaries, solver, step=self.step)
        result = self.solver.solve(side, other, task)
        self.sides[solved], parts = side.with_factors(result, self.step)
        self._refuse_unsolved(solved, number, parts)
        unobserved = float(np.vdot(self.sides[solved].gramian, other.gramian))
        loss = Loss(
            observed=sum(parts[block].observed for block in sorted(parts)),
            unobserved=objective.unobserved_weight * unobserved,
            penalty=self.sides["users"].penalty + self.sides["items"].penalty,
        )
        rows = sum(part.rows for part in parts.values())
        solve_seconds = [part.seconds for part in parts.values()]
        seconds = time.perf_counter() - began
        return HalfIteration(number, self.planned, solved, rows, seconds, loss, sum(solve_seconds), max(solve_seconds))

    def _refuse_unsolved(self, name: str, number: int, parts: dict[int, BlockSummary]) -> None:
        for block, part in sorted(parts.items()):
            if part.failed_row >= 0:
                bad_id = self.sides[name].blocked.id_of(block, part.failed_row)
                raise TrainingError(
                    f"half-iteration {number}/{self.planned}: {name[:-1]} {bad_id!r} cannot be solved: "
                    f"{part.failure}. Raise train.reg_param, or look for extreme ratings of it"
                )
