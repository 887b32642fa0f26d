"""What is minimised, as weights, targets and diagonals; and the exact loss in its three parts.

With Ω the observed pairs, x_u and y_i the rows of the factors:

    L = Σ_Ω (w ŷ² − 2 s ŷ + k)  +  α₀ Σ_all ŷ²  +  Σ_u Λ_u |x_u|² + Σ_i Λ_i |y_i|²        ŷ = x_u·y_i

An observed pair has confidence c(r) and target t: 1 or 0 (implicit), or the rating itself (explicit). Its weight c
either replaces the weight α₀ that unobserved pairs have, or comes on top of it:

    unobserved_on = missing    c (t − ŷ)²               w = c − α₀    Hu, Koren and Volinsky; MLlib; implicit
    unobserved_on = all        c (t − ŷ)² + α₀ ŷ²       w = c         Rendle et al. 2022

and s = c·t, k = c·t² in both: the constants are in, so L is the textbook loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wals_spark.confidence import Confidence

REG_SCALINGS = ("plain", "count", "frequency")
UNOBSERVED_ON = ("missing", "all")

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
    """A choice of weights, targets and regularisation, for one side: all an executor needs to know of the settings.

    ``n_fixed`` is the number of rows of the other side; only frequency scaling uses it.
    """

    confidence: Confidence = field(default_factory=Confidence)
    unobserved_weight: float = 1.0
    unobserved_on: str = "missing"
    target: str = "preference"
    reg_param: float = 0.1
    reg_scaling: str = "plain"
    reg_exponent: float = 1.0
    nonnegative: bool = False
    n_fixed: int = 0

    @property
    def positive_start(self) -> bool:
        """Whether factors start without negative entries: explicit ratings and non-negative factors do."""
        return self.nonnegative or self.target == "rating"

    def observed_terms(self, ratings: npt.NDArray[np.floating]) -> ObservedTerms:
        """Weights and targets of observed ratings.

        With target ``preference``, a rating above zero has target 1; one of zero or below has target 0 and the
        confidence of its magnitude: a stated dislike, as in MLlib's implicit ALS.
        """
        confidence = self.confidence.of(np.abs(ratings))
        target = ratings.astype(np.float64) if self.target == "rating" else (ratings > 0).astype(np.float64)
        pull = confidence * target
        replaced = self.unobserved_weight if self.unobserved_on == "missing" else 0.0
        return ObservedTerms(confidence - replaced, pull, pull * target)

    def regularization(self, counts: npt.NDArray[np.integer]) -> Vector:
        """``Λ`` of rows with ``counts`` observations.

        plain: λ · count: λ n (ALS-WR, Zhou et al. 2008) · frequency: λ (n + α₀ N)^ν, N rows on the other side
        (Rendle et al. 2022, eq. 6). A row that counts 0 has dislikes alone: it is solved by 0 under any Λ above 0,
        and counts 1 so that Λ is.
        """
        n: Vector = np.maximum(counts, 1).astype(np.float64)
        if self.reg_scaling == "plain":
            return np.full(n.shape, self.reg_param)
        if self.reg_scaling == "count":
            return self.reg_param * n
        scaled: Vector = self.reg_param * (n + self.unobserved_weight * self.n_fixed) ** self.reg_exponent
        return scaled
