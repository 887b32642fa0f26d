"""The seconds that each phase of a job took, by the driver's clock."""

from __future__ import annotations

import time


class Phases:
    """A stopwatch: a phase begins when the one before it ends. ``seconds`` has the seconds by phase, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def end(self, phase: str) -> None:
        """End the current phase, whose name is ``phase``, and begin the next."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._began
        self._began = now
