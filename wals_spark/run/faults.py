"""Named moments of a run at which tests end it: ``WALS_FAULT=after_manifest:kill``."""

from __future__ import annotations

import os
import signal

FAULT = "WALS_FAULT"
POINTS = (
    "after_lease",
    "after_run_record",
    "after_check",
    "after_snapshot",
    "after_blocks",
    "before_checkpoint",
    "before_checkpoint_index",
    "after_checkpoint",
    "after_training",
    "after_user_factors",
    "before_manifest",
    "after_manifest",
    "after_gate",
    "after_history",
    "after_current",
    "after_publish",
    "after_retain",
    "after_end",
)
"""All names but ``half_iteration_N``, which is the end of half-iteration N."""

_ACTIONS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}


def fault_point(name: str) -> None:
    """If the environment names this point, do what it says: kill, term or stop this process, or raise an error."""
    point, _, action = os.environ.get(FAULT, "").partition(":")
    if point != name:
        return
    if action == "raise":
        raise RuntimeError(f"{FAULT} = {point}:{action}")
    os.kill(os.getpid(), _ACTIONS[action])
