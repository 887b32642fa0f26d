"""What is known of a training: kept when a model is saved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from wals_spark.spark.api import Model


@dataclass(frozen=True)
class TrainingSummary:
    """How a training went.

    Attributes
    ----------
    objectiveHistory : list of float
        The exact loss after each half-iteration, first the side that is solved first (items).
    totalIterations : int
    stoppedBy : str
        ``maxIter`` or ``tol``.
    counts : dict of str to int
        ``users``, ``items``, ``observations``, ``duplicates_merged`` and ``rows_dropped``.
    seconds : dict of str to float
        Seconds by phase.
    """

    objectiveHistory: list[float]
    totalIterations: int
    stoppedBy: str
    counts: dict[str, int]
    seconds: dict[str, float]

    @classmethod
    def of(cls, model: Model) -> TrainingSummary:
        """The summary of a model of this session."""
        manifest, events = model.manifest, model.events
        return cls(
            objectiveHistory=[event["loss"] for event in events],
            totalIterations=(manifest["half_iterations"] + 1) // 2,
            stoppedBy="tol" if manifest["stopped_by"] == "tol" else "maxIter",
            counts=dict(manifest["counts"]),
            seconds=dict(manifest.get("seconds", {})),
        )

    def as_document(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
