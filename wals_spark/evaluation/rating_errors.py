"""Errors of predicted ratings: RMSE and MAE over all rows of a test whose user and item the model knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class RatingErrors(NamedTuple):
    """Sums over the rows of a test.

    ``known`` rows have a user and an item of the model, ``unknown`` rows have not; ``squared`` and ``absolute`` are the
    sums of (prediction - rating)² and of |prediction - rating| over the known ones.
    """

    known: int
    unknown: int
    squared: float
    absolute: float

    def entries(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The metrics of these names as entries of an `Evaluation`: without intervals, and without popularity."""
        values = {"rmse": math.sqrt(self.squared / self.known), "mae": self.absolute / self.known}
        fields = {"k": None, "better": "lower", "low": None, "high": None}
        return [{"name": name, **fields, "model": values[name]} for name in names]

    @property
    def counts(self) -> dict[str, int]:
        """What an `Evaluation` counts."""
        return {"rated_rows": self.known, "rated_rows_unknown": self.unknown}
