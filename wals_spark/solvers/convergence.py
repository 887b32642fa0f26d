"""When an iteration has gained too little to go on."""

from __future__ import annotations

from collections.abc import Sequence


def has_converged(losses: Sequence[float], tol: float) -> bool:
    """Whether the iteration that just ended decreased the loss by less than the share ``tol`` of it.

    ``losses`` are those of all half-iterations so far; two make an iteration. The first iteration never ends training.
    """
    if tol == 0 or len(losses) < 4 or len(losses) % 2:
        return False
    return losses[-3] - losses[-1] < tol * abs(losses[-3])
