"""Named moments of a run at which tests end it: ``WALS_FAULT=after_manifest:kill``."""

from __future__ import annotations

import os
import signal

FAULT = "WALS_FAULT"
POINTS = (
    "after_lease",
    "after_run_record",
    "after_check",
    "after_blocks",
    "before_checkpoint",
    "before_checkpoint_index",
    "after_checkpoint",
    "after_training",
    "after_user_factors",
    "before_manifest",
    "after_manifest",
    "after_history",
    "after_current",
    "after_end",
)
"""Those of a training, but ``half_iteration_N``, which is the end of half-iteration N."""

NIGHT_POINTS = ("after_snapshot", "after_gate", "after_publish", "after_retain")
"""Those that a night's retraining has besides."""

_ACTIONS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}


def fault_point(name: str) -> None:
    """If the environment names this point, do what it says: kill, term or stop this process, or raise an error."""
    point, _, action = os.environ.get(FAULT, "").partition(":")
    if point != name:
        return
    if action == "raise":
        raise RuntimeError(f"{FAULT} = {point}:{action}")
    os.kill(os.getpid(), _ACTIONS[action])
