"""How each half-iteration solves its rows, which its number alone decides."""

from __future__ import annotations

from wals_spark.settings.training import ResolvedTrain
from wals_spark.solvers.half_iteration import Solver


def solver_of(settings: ResolvedTrain, number: int) -> Solver:
    """The solver of half-iteration ``number`` of ``2 * max_iter``, counted from 1.

    The first iteration is not relaxed: the way from random factors to their solution is no direction to go further in.
    Nor is the last half-iteration (`last_solver`), nor are non-negative factors, which could become negative.
    """
    if number == 2 * settings.max_iter:
        return last_solver(settings)
    relaxed = number > 2 and not settings.nonnegative
    return Solver(settings.solver, settings.cg_steps, relaxation=settings.relaxation if relaxed else 1.0)


def last_solver(settings: ResolvedTrain) -> Solver:
    """The solver of the half-iteration that ends training: published factors are exactly those of a fold-in."""
    return Solver("exact" if settings.solver == "cg" else settings.solver, settings.cg_steps)
