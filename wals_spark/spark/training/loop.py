"""The training loop: half-iterations until the end, their exact loss, and the iteration that is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from wals_spark.arrays.histogram import Histogram
from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Loss, Objective
from wals_spark.run.convergence import has_converged, refuse_rising_loss
from wals_spark.run.events import HalfIteration
from wals_spark.run.faults import fault_point
from wals_spark.run.schedule import last_solver, solver_of
from wals_spark.settings.training import ResolvedTrain
from wals_spark.solvers.half_iteration import BlockSummary, Solver
from wals_spark.spark.stopping import raise_if_stopped
from wals_spark.spark.training.blas_threads import warn_of_blas_threads
from wals_spark.spark.training.half_iteration import BlockSolver, Side, Solved, rows_of
from wals_spark.spark.training.model_rows import stored_factors
from wals_spark.spark.training.prepare import prepare_blocks
from wals_spark.spark.training.rdd import KeyedRecords
from wals_spark.spark.training.state import Best, Checkpoints, Listeners, Trained, TrainingState, WarmStart
from wals_spark.spark.training.stored_blocks import Blocks
from wals_spark.spark.training.tasks import HalfIterationTask

logger = logging.getLogger("wals_spark")


class Training:
    """One attempt, from a state to the end."""

    def __init__(
        self, blocks: Blocks, objectives: Mapping[str, Objective], settings: ResolvedTrain, listeners: Listeners
    ) -> None:
        self.blocks = blocks
        self.objectives = objectives
        self.settings = settings
        self.listeners = listeners
        self.sc = blocks.users.spark.sparkContext
        self.solver = BlockSolver(self.sc)
        self.events: list[HalfIteration] = []
        self.resumed_from: HalfIteration | None = None
        self.constant = 0.0
        self.weights = Histogram()
        self.step = 0
        self.planned = 2 * settings.max_iter
        self.sides: dict[str, Side] = {}
        self.first = settings.first_side
        self.second = "items" if self.first == "users" else "users"
        self.wanted = np.empty((0, settings.width), dtype=np.float32)  # the current rows that are evaluated
        self.best: Best | None = None
        self.warm_rows: dict[str, int] = {}
        self.is_over = False

    def run(self, checkpoints: Checkpoints | None, warm_start: WarmStart | None = None) -> Trained:
        """Train to the end, from the last of the checkpoints if there is one, or else from a model if it is given."""
        users, items, settings = self.blocks.users, self.blocks.items, self.settings
        prepared = prepare_blocks(users, items, self.objectives, heavy_row_threshold=settings.heavy_row_threshold)
        no_rows = np.zeros((settings.width, settings.width))
        self.sides = {side.name: Side(side, prepared[side.name], no_rows) for side in (users, items)}
        state = None if checkpoints is None else checkpoints.latest(self.sides)
        if state is None:
            self._start(self.second, warm_start)
            if warm_start is not None:  # the side that is solved first has current factors, too
                self._start(self.first, warm_start)
            self.events.append(self._half_iteration(1))
        else:
            self._go_on_from(state)
        while not (stopped_by := self._ended()):
            if checkpoints is not None and checkpoints.is_due():
                checkpoints.save(self._state())
            self.events.append(self._half_iteration(len(self.events) + 1))
        self.is_over = True
        kept = self._keep(self.events[-1])
        self.solver.delete_cache(*self.sides.values())
        for side in self.sides.values():
            side.unpersist_blocks()
        return Trained(*self._factors(), self.events, stopped_by, kept, self.warm_rows)

    def _ended(self) -> str:
        """Judge the half-iteration that has just been solved, and report it; why training ends with it, if it does."""
        events, settings, stopped_by = self.events, self.settings, ""
        refuse_rising_loss(events, settings.solver, constant=self.constant)
        if has_converged(events, settings.tol):
            stopped_by = "tol"
            if solver_of(settings, len(events)) != last_solver(settings):
                events[-1] = self._half_iteration(len(events), last_solver(settings))
        elif len(events) == self.planned:
            stopped_by = "max_iter"
        events[-1] = self._evaluated(events[-1], last=bool(stopped_by))
        if stopped_by or events[-1] != self.resumed_from:
            self.listeners.on_half_iteration(events)
        fault_point(f"half_iteration_{len(events)}")
        raise_if_stopped()
        if not stopped_by and events[-1].ends_iteration:
            self.listeners.on_iteration(events[-1].iteration, *self._factors())
        return stopped_by

    def _state(self) -> TrainingState:
        sides, warm_rows = dict(self.sides), dict(self.warm_rows)
        return TrainingState([*self.events], self.step, self.constant, self.weights, sides, self.best, warm_rows)

    def _go_on_from(self, state: TrainingState) -> None:
        """Take over a state; the rows that are evaluated are looked up in its factors."""
        self.events, self.step, self.constant = [*state.events], state.step, state.constant
        self.weights, self.sides, self.best = state.weights, dict(state.sides), state.best
        self.warm_rows, self.resumed_from = dict(state.warm_rows), self.events[-1]
        evaluator = self.listeners.evaluator
        if evaluator is not None:
            self.wanted = rows_of(self.sides["users"].current_factors, evaluator.wanted, self.settings.width)
            if self.best is not None and self.first == "users":
                wanted = rows_of(self.best.side.current_factors, evaluator.wanted, self.settings.width)
                self.best = self.best._replace(wanted=wanted)
        self.listeners.on_weights(self.weights)
        logger.info("going on after half-iteration %d/%d, from its checkpoint", len(self.events), self.planned)

    def save_before_end(self, checkpoints: Checkpoints) -> None:
        """Save what there is, if it is whole; the run ends one way or the other."""
        if self.events and not self.is_over:
            try:
                checkpoints.save(self._state())
            except Exception as error:
                logger.warning("no checkpoint could be written before the end: %s", error)

    def unpersist(self) -> None:
        """Let Spark and executors drop all that this attempt has."""
        with suppress(Exception):  # executors may be what failed
            self.solver.delete_cache(*self.sides.values())
        for side in self.sides.values():
            side.unpersist_blocks()
            side.unpersist_factors()
        if self.best is not None and self.best.side is not self.sides[self.first]:
            self.best.side.unpersist_factors()

    def _factors(self) -> tuple[KeyedRecords, KeyedRecords]:
        return self.sides["users"].current_factors, self.sides["items"].current_factors

    def _evaluated(self, event: HalfIteration, *, last: bool) -> HalfIteration:
        """The event with its metric, if it ends an iteration that is evaluated; the best so far is held."""
        evaluator, every = self.listeners.evaluator, self.settings.evaluate_every
        if evaluator is None or not event.ends_iteration or (event.iteration % every and not last):
            return event
        if event.metric is not None and not last:
            return event  # of a checkpoint
        began = time.perf_counter()
        value = evaluator.value(self.wanted, self.sides["items"])
        event = replace(event, metric=value, evaluate_seconds=time.perf_counter() - began)
        if self.settings.keep == "best":
            outdone, sign = self.best, -1.0 if evaluator.lower_is_better else 1.0
            if outdone is None or sign * value > sign * outdone.value:
                self.best = Best(event.iteration, value, self.sides[self.first], self.wanted)
                if outdone is not None and outdone.side is not self.sides[self.first]:
                    outdone.side.unpersist_factors()
        return event

    def _keep(self, last: HalfIteration) -> HalfIteration:
        """Go back to the best iteration, if it is not the last: its model is that of ``max_iter`` = its number.

        Of that iteration, the side that is solved first is still there. The other side is solved against it again,
        now as the last half-iteration of a training is.
        """
        best, self.best = self.best, None
        if best is None or best.iteration == last.iteration:
            return last
        self.sides[self.first].unpersist_factors()
        self.sides[self.first], self.wanted = replace(best.side, cached=None), best.wanted
        kept = self._half_iteration(2 * best.iteration, last_solver(self.settings))
        return self._evaluated(kept, last=True)

    def _start(self, name: str, warm_start: WarmStart | None) -> None:
        """Draw the factors of a side, or take them from a model: of the one that is held fixed first, or of both."""
        self.sc.setJobDescription(f"start: draw {name}")
        side = self.sides[name]
        task = HalfIterationTask(0, name, self.objectives[name], self.solver.summaries)
        stored = None if warm_start is None else stored_factors(self.blocks, name, warm_start.table_of(name))
        solved = self.solver.start(side, task, self.settings.start_options, stored=stored)
        parts = self._replaced(name, solved)
        if warm_start is not None:
            self.warm_rows[name] = sum(part.warm_rows for part in parts.values())
        if name == self.first:
            return
        warn_of_blas_threads(self.sc, max(part.blas_threads for part in parts.values()))
        weights = (part.weights for _, part in sorted(parts.items()) if part.weights is not None)
        self.constant = sum(part.constant for _, part in sorted(parts.items()))
        self.weights = Histogram.merged(weights)
        self.listeners.on_weights(self.weights)

    def _half_iteration(self, number: int, solver: Solver | None = None) -> HalfIteration:
        began = time.perf_counter()
        solved, fixed = (self.first, self.second) if number % 2 else (self.second, self.first)
        self.sc.setJobDescription(f"half-iteration {number}/{self.planned}: solve {solved}")
        self.step += 1
        side, other, objective = self.sides[solved], self.sides[fixed], self.objectives[solved]
        solver = solver or solver_of(self.settings, number)
        evaluator = self.listeners.evaluator
        reported = evaluator.wanted if evaluator is not None and solved == "users" else {}
        task = HalfIterationTask(
            number, solved, objective, self.solver.summaries, solver, step=self.step, reported=reported
        )
        parts = self._replaced(solved, self.solver.solve(side, other, task))
        self._refuse_unsolved(solved, number, parts)
        if reported:
            by_block = (part.reported for _, part in sorted(parts.items()))
            self.wanted = np.concatenate([of_block for of_block in by_block if of_block is not None])
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

    def _replaced(self, name: str, solved: Solved) -> dict[int, BlockSummary]:
        """Give a side its new factors, and drop the old ones unless the best iteration has them; the summaries."""
        old = self.sides[name]
        self.sides[name], parts = old.with_factors(solved, self.step)
        if self.best is None or self.best.side is not old:
            old.unpersist_factors()
        return parts

    def _refuse_unsolved(self, name: str, number: int, parts: dict[int, BlockSummary]) -> None:
        for block, part in sorted(parts.items()):
            if part.failed_row >= 0:
                bad_id = self.sides[name].blocked.id_of(block, part.failed_row)
                raise TrainingError(
                    f"half-iteration {number}/{self.planned}: {name[:-1]} {bad_id!r} cannot be solved: "
                    f"{part.failure}. Raise train.reg_param, or look for extreme ratings of it"
                )
