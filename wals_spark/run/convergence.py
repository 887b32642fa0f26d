"""When training has converged, and when it is wrong: decided by the exact loss alone."""

from __future__ import annotations

from collections.abc import Sequence

from wals_spark.errors import TrainingError
from wals_spark.run.events import HalfIteration
from wals_spark.solvers.convergence import has_converged as losses_have_converged
from wals_spark.solvers.half_iteration import Method

# No solver can raise the loss. Rounding a row to float32 raises it by the square of 6e-8, since the row is at the
# minimum. What remains is the rounding of sums, relative to the size of the loss's parts: in float64 (cholesky), or in
# float32 with each row's residual verified (exact) or not (cg, where weights far above λ make it worst).
_RISE_TOLERANCE: dict[Method, float] = {"cholesky": 1e-9, "exact": 1e-6, "cg": 1e-3}
# The loss of a good fit is what is left of sums that cancel, w ŷ² − 2 s ŷ + k, and the rounding is of their size: some
# ulps of float64, or of float32 (6e-8).
_ROUNDING: dict[Method, float] = {"cholesky": 1e-13, "exact": 1e-6, "cg": 1e-6}


def refuse_rising_loss(events: Sequence[HalfIteration], solver: Method, *, constant: float = 0.0) -> None:
    """Compare the loss of the last half-iteration, solved with ``solver``, with that of the one before.

    ``constant`` is ``Σ k``, the observed loss where all scores are 0: the scale of what is summed.

    Raises
    ------
    TrainingError
        If the loss rose, or is not a number; the message has the half-iteration, the side and the rise.
    """
    if len(events) < 2:
        return
    before, now = events[-2].loss, events[-1].loss
    rise = now.total - before.total
    size = abs(before.observed) + abs(before.unobserved) + abs(before.penalty)
    tolerance = _RISE_TOLERANCE[solver] * size + _ROUNDING[solver] * constant
    if not rise <= tolerance:  # true of nan as well
        event = events[-1]
        raise TrainingError(
            f"half-iteration {event.number}/{event.planned}: solving {event.side} raised the loss by {rise:.6g} to "
            f"{now.total:.6g}, which train.solver = {solver} cannot do. Either the "
            f"numbers are beyond {'float64' if solver == 'cholesky' else 'float32: try train.solver = cholesky'} "
            "(look at the largest ratings and at train.reg_param), or this is a bug: please report it"
        )


def has_converged(events: Sequence[HalfIteration], tol: float) -> bool:
    """Whether the iteration that just ended decreased the loss by less than the share ``tol`` of it."""
    return losses_have_converged([event.loss.total for event in events], tol)
