"""Trains, and goes on where an executor that is lost, or a signal, has ended an attempt."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from wals_spark.errors import InterruptedRunError
from wals_spark.objective.objective import Objective
from wals_spark.settings.training import ResolvedTrain
from wals_spark.spark.causes import JAVA_ERRORS
from wals_spark.spark.stopping import stop_noticed
from wals_spark.spark.training.half_iteration import LostSummaryError
from wals_spark.spark.training.loop import Training
from wals_spark.spark.training.state import Checkpoints, Listeners, Trained, WarmStart
from wals_spark.spark.training.stored_blocks import Blocks

logger = logging.getLogger("wals_spark")

MAX_ATTEMPTS = 3
"""Attempts that end with an executor lost before training gives up; each half-iteration gained sets them back."""

# Spark's words where what an executor had is gone. Tasks alone it repeats by itself.
_LOST = (
    "CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND", "ExecutorLostFailure", "FetchFailed", "Executor heartbeat timed out",
    "exited caused by one of the running tasks",
)  # fmt: skip


def train(
    blocks: Blocks,
    objectives: Mapping[str, Objective],
    settings: ResolvedTrain,
    listeners: Listeners | None = None,
    checkpoints: Checkpoints | None = None,
    warm_start: WarmStart | None = None,
) -> Trained:
    """Train from the last checkpoint, or from the start, until ``max_iter`` or ``tol``.

    With a ``warm_start``, ids of that model start from their rows in it, and others from where they always do.
    ``objectives`` is what is minimised for the rows of ``users`` and ``items``: the same, with the λ of each side.
    Factors are persisted without their lineage, so that the 200th iteration runs as the tenth did.
    Where an executor is lost with factors, it goes on from the last of ``checkpoints``, or from the blocks, and arrives
    at the same model. Where SIGTERM ends it, it writes one first.

    Raises
    ------
    TrainingError
        If the loss rises or a row has no finite solution: which half-iteration, and which id.
    HeldError, InterruptedRunError
        If it was told to end.
    """
    furthest = failures = 0
    while True:
        training = Training(blocks, objectives, settings, listeners or Listeners())
        try:
            return training.run(checkpoints, warm_start)
        except BaseException as error:
            _let_go(training, checkpoints, error)
            failures = 1 if len(training.events) > furthest else failures + 1
            furthest = max(furthest, len(training.events))
            if not is_lost_with_executor(error) or failures == MAX_ATTEMPTS:
                raise
            logger.warning(
                "factors were lost with an executor; training starts again from the last checkpoint or, without one, "
                "from the blocks (attempt %d of %d)",
                failures + 1,
                MAX_ATTEMPTS,
            )


def _let_go(training: Training, checkpoints: Checkpoints | None, error: BaseException) -> None:
    """Unpersist what an attempt has; raise the reason if it was told to end, after a checkpoint if it may write one."""
    reason = stop_noticed()
    if isinstance(reason, InterruptedRunError) and checkpoints is not None:
        training.save_before_end(checkpoints)
    training.unpersist()
    if reason is not None:
        raise reason from error


def is_lost_with_executor(error: BaseException) -> bool:
    """Whether something failed because an executor had what nothing else has."""
    if isinstance(error, LostSummaryError):
        return True
    return isinstance(error, JAVA_ERRORS) and any(sign in str(error) for sign in _LOST)
