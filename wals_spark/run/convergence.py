"""When training is over, and when it is wrong: judged by the exact loss alone."""

from __future__ import annotations

from collections.abc import Sequence

from wals_spark.errors import TrainingError
from wals_spark.run.events import HalfIteration

# No solver can raise the loss. Storing rows as float32 costs the square of 6e-8 of it: rows stand at their minimum.
# What is left is the rounding of sums: in float64, or in float32, of rows that are verified or of steps, which weights
# far above λ strain.
_RISE_TOLERANCE = {"cholesky": 1e-9, "exact": 1e-6, "cg": 1e-3}


def refuse_rising_loss(events: Sequence[HalfIteration], solver: str) -> None:
    """Check the last half-iteration against the one before; ``solver`` is what its rows were solved by.

    Raises
    ------
    TrainingError
        If the loss rose, or is not a number: which half-iteration and side, and by how much.
    """
    if len(events) < 2:
        return
    before, now = events[-2].loss, events[-1].loss
    risen = now.total - before.total
    size = abs(before.observed) + abs(before.unobserved) + abs(before.penalty)
    if not risen <= _RISE_TOLERANCE[solver] * size:  # true of nan as well
        event = events[-1]
        raise TrainingError(
            f"half-iteration {event.number}/{event.planned}: solving {event.side} raised the loss by {risen:.6g} to "
            f"{now.total:.6g}, which train.solver = {solver} cannot do. Either the "
            f"numbers are beyond {'float64' if solver == 'cholesky' else 'float32: try train.solver = cholesky'} "
            "(look at the largest ratings and at train.reg_param), or this is a bug: please report it"
        )


def gain_is_small(events: Sequence[HalfIteration], tol: float) -> bool:
    """Whether the iteration that just ended lowered the loss by less than the share ``tol`` of it."""
    if tol == 0 or len(events) < 4 or events[-1].number % 2:
        return False
    before, now = events[-3].loss.total, events[-1].loss.total
    return before - now < tol * abs(before)
