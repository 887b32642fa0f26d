"""How long each phase of a job took, by the driver's clock."""

from __future__ import annotations

import time


class Phases:
    """A stopwatch: a phase begins where the one before it ended. ``seconds`` has them by name, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def end(self, phase: str) -> None:
        """What was going on was ``phase``, and is over."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._began
        self._began = now
