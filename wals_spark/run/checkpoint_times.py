"""When a checkpoint is due: by the time that writing one takes, and the rate at which executors are lost."""

from __future__ import annotations

import math

_LOSSES_PER_EXECUTOR_HOUR = 0.01
_SHORTEST, _LONGEST = 60.0, 600.0  # seconds
_ASSUMED_COST = 2.0  # seconds, before the first is written
_LEAST_RATIO = 50.0  # of the interval to the cost, however seldom machines fail: 2 % of the time


def interval_seconds(cost: float | None, executors: int) -> float:
    """The seconds between two checkpoints that each take ``cost``; None: none is written yet.

    The interval that loses the least time is sqrt(2 cost M) - cost, M the mean time between failures (Daly, Future
    Generation Computer Systems 22, 2006, equation 20, to first order: Young 1974). M is that of ``executors`` of which
    1 % are lost per hour. It is no less than a minute, so that a short run writes none; and no more than ten minutes,
    or fifty times the cost, for whatever else ends a run.
    """
    cost = _ASSUMED_COST if cost is None else cost
    between_failures = 3600.0 / (_LOSSES_PER_EXECUTOR_HOUR * max(executors, 1))
    best = math.sqrt(2.0 * cost * between_failures) - cost
    return min(max(best, _SHORTEST), max(_LONGEST, _LEAST_RATIO * cost))
