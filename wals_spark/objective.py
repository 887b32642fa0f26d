"""What is minimised, as weights, targets and diagonals; and the exact loss in its three parts.

With Ω the observed pairs, x_u and y_i the rows of the factors:

    L = Σ_Ω (w ŷ² − 2 s ŷ + k)  +  α₀ Σ_all ŷ²  +  Σ_u Λ_u |x_u|² + Σ_i Λ_i |y_i|²        ŷ = x_u·y_i

For Hu, Koren and Volinsky's loss Σ_all c (p − ŷ)² + λ(Σ|x|² + Σ|y|²), with c = 1 and p = 0 where nothing was
observed, this is w = c − α₀, s = c·p, k = c·p², α₀ = 1: the constants are in, so L is the textbook loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.confidence import Confidence

REG_SCALINGS = ("plain", "count")

Vector = npt.NDArray[np.float64]


class ObservedTerms(NamedTuple):
    """Per observation, shape (n_observed,): ``w``, ``s`` and ``k`` of the loss above."""

    curvature: Vector
    pull: Vector
    constant: Vector


class Loss(NamedTuple):
    """The exact loss in its three parts; ``penalty`` is of both sides."""

    observed: float
    unobserved: float
    penalty: float

    @property
    def total(self) -> float:
        """The value that training minimises."""
        return self.observed + self.unobserved + self.penalty


@dataclass(frozen=True)
class Objective:
    """A choice of weights, targets and regularisation: all an executor needs to know of the settings."""

    confidence: Confidence = field(default_factory=Confidence)
    unobserved_weight: float = 1.0
    reg_param: float = 0.1
    reg_scaling: str = "plain"

    def observed_terms(self, ratings: npt.NDArray[np.floating]) -> ObservedTerms:
        """Weights and targets of observed ratings.

        A rating above zero has target 1. A rating of zero or below has target 0 and the confidence of its
        magnitude: a stated dislike, as in MLlib's implicit ALS.
        """
        confidence = 1.0 + self.confidence.excess(np.abs(ratings))
        preference = (ratings > 0).astype(np.float64)
        pull = confidence * preference
        return ObservedTerms(confidence - self.unobserved_weight, pull, pull * preference)

    def regularization(self, counts: npt.NDArray[np.integer]) -> Vector:
        """``Λ`` of rows with ``counts`` observations: λ (plain), or λ times the count (ALS-WR, Zhou et al. 2008)."""
        if self.reg_scaling == "plain":
            return np.full(counts.shape, self.reg_param)
        return self.reg_param * counts.astype(np.float64)
