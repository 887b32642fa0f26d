"""What is minimised: confidence and weights, targets, regularisation; and the exact loss in its three parts.

With Ω the observed pairs, x_u and y_i the rows of the factors:

    L = Σ_Ω (w ŷ² − 2 s ŷ + k)  +  α₀ Σ_all ŷ²  +  Σ_u Λ_u |x_u|² + Σ_i Λ_i |y_i|²        ŷ = x_u·y_i

An observed pair has confidence c(r) and target t: 1 or 0 (implicit), or the rating itself (explicit). Its weight c
either replaces the weight α₀ that unobserved pairs have, or is added to it:

    unobserved_on = missing    c (t − ŷ)²               w = c − α₀    Hu, Koren and Volinsky; MLlib; implicit
    unobserved_on = all        c (t − ŷ)² + α₀ ŷ²       w = c         Rendle et al. 2022

and s = c·t, k = c·t² in both: the constants are in, so L is the textbook loss itself. With biases, ŷ is still x_u·y_i:
a user's row ends in (b_u, 1) and an item's in (1, b_i), and the coordinate that is 1 is held there, without penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from wals_spark.arrays.types import Float64Array, FloatArray, Indices, Int64Array

ConfidenceFunction = Literal["constant", "linear", "log", "sqrt"]
ItemWeightFunction = Literal["none", "count", "inverse", "power", "propensity"]
RegScaling = Literal["plain", "count", "frequency"]
UnobservedOn = Literal["missing", "all"]
Target = Literal["preference", "rating"]


@dataclass(frozen=True)
class Confidence:
    """The confidence function and its parameters (Hu, Koren and Volinsky 2008, §4; log is their eq. 6).

    ``base`` is the confidence of a rating of 0: 1 in Hu et al. and MLlib, 0 in `implicit` and for explicit ratings
    with a constant. With ``impression`` set, a rating of zero or below means that the user was shown the item and did
    not take it; its confidence rises above the base by ``impression`` instead of by its magnitude.
    """

    function: ConfidenceFunction
    alpha: float
    epsilon: float
    base: float
    impression: float | None

    def of(self, ratings: FloatArray, multiplier: Float64Array | float = 1.0) -> Float64Array:
        """Compute ``c(r)``, elementwise: base plus the multiplier times one of

        constant: α · linear: α·|r| · log: α·ln(1 + |r|/ε) · sqrt: α·√|r|
        """  # noqa: D400
        r = np.abs(ratings, dtype=np.float64)
        if self.function == "constant":
            above = np.full(r.shape, self.alpha)
        elif self.function == "linear":
            above = self.alpha * r
        elif self.function == "log":
            above = self.alpha * np.log1p(r / self.epsilon)
        elif self.function == "sqrt":
            above = self.alpha * np.sqrt(r)
        else:
            raise ValueError(
                f"unknown confidence function {self.function!r}: one of {', '.join(get_args(ConfidenceFunction))}"
            )
        if self.impression is not None:
            above = np.where(ratings > 0, above, self.impression)
        return self.base + multiplier * above


@dataclass(frozen=True)
class ItemWeight:
    """The multiplier of the confidence above the base, by the popularity of the observed item.

    With c_i the number of positive observations of item i, and c_max the largest:

    none: 1 · count: c_i · inverse: 1/c_i · power: (1/c_i)^exponent (the column weights of TensorFlow's WALS and its
    tutorial) · propensity: 1 / max(floor, (c_i/c_max)^exponent), the inverse of a clipped power-law propensity (Saito
    et al., WSDM 2020, §5.1; Schnabel et al., ICML 2016, for explicit ratings)
    """

    function: ItemWeightFunction
    exponent: float
    floor: float

    def of(self, counts: Indices, largest: int) -> Float64Array:
        """The multiplier per item, shape (n_items,); an item without positive observations is taken as having one."""
        c: Float64Array = np.maximum(counts, 1).astype(np.float64)
        multiplier: Float64Array
        if self.function == "none":
            return np.ones(c.shape)
        if self.function == "count":
            return c
        if self.function == "inverse":
            multiplier = 1.0 / c
        elif self.function == "power":
            multiplier = c**-self.exponent
        elif self.function == "propensity":
            multiplier = 1.0 / np.maximum((c / max(largest, 1)) ** self.exponent, self.floor)
        else:
            raise ValueError(f"unknown item weight {self.function!r}: one of {', '.join(get_args(ItemWeightFunction))}")
        return multiplier


@dataclass(frozen=True)
class Decay:
    """How an event's rating decays with its age: halved per ``half_life_days``, never below the share ``floor`` of it.

    ``reference`` is the time at which ages are taken, in unix seconds; None is that of the newest event. Later events
    have age 0.
    """

    half_life_days: float
    floor: float
    reference: float | None


class ObservedTerms(NamedTuple):
    """Per observation, shape (n_observed,): ``w`` and ``t`` of the loss above."""

    excess_weight: Float64Array
    target: Float64Array


class Loss(NamedTuple):
    """The exact loss in its three parts; ``penalty`` is the sum over both sides."""

    observed: float
    unobserved: float
    penalty: float

    @property
    def total(self) -> float:
        """The value that training minimises."""
        return self.observed + self.unobserved + self.penalty


@dataclass(frozen=True)
class Objective:
    """Weights, targets and regularisation for one side: all that an executor needs of the settings.

    It has no defaults: the settings have them (`Config.objectives` in settings/train.py).

    Attributes
    ----------
    offset : float
        Subtracted from each rating before it is a target: the global mean, or 0.
    held : int or None
        With biases, the coordinate of this side's rows that is always 1.
    n_fixed : int
        Rows of the other side; frequency scaling uses it.
    largest_item_count : int
        Positive observations of the most popular item; propensity weights use it.
    """

    confidence: Confidence
    item_weight: ItemWeight
    unobserved_weight: float
    unobserved_on: UnobservedOn
    target: Target
    offset: float
    reg_param: float
    reg_scaling: RegScaling
    reg_exponent: float
    nonnegative: bool
    held: int | None
    n_fixed: int
    largest_item_count: int

    @property
    def unobserved_weight_in_confidence(self) -> float:
        """The part of α₀ that the confidence contains: with it, ``c = w + part``, ``s = c t`` and ``k = c t²``."""
        return self.unobserved_weight if self.unobserved_on == "missing" else 0.0

    def free(self, width: int) -> Int64Array:
        """The coordinates of a row that are solved for, ascending: all of ``width`` but the one that is held."""
        return np.array([k for k in range(width) if k != self.held])

    def observed_terms(self, ratings: FloatArray, multiplier: Float64Array | float = 1.0) -> ObservedTerms:
        """Weights and targets of observed ratings; ``multiplier`` is of the confidence above its base.

        With target ``preference``, a rating above zero has target 1; one of zero or below has target 0: a stated
        dislike, as in MLlib's implicit ALS, or an impression without an interaction.
        """
        excess_weight = self.confidence.of(ratings, multiplier) - self.unobserved_weight_in_confidence
        rated = self.target == "rating"
        target = ratings.astype(np.float64) - self.offset if rated else (ratings > 0).astype(np.float64)
        return ObservedTerms(excess_weight, target)

    def regularization(self, counts: Indices) -> Float64Array:
        """``Λ`` of rows with ``counts`` observations.

        plain: λ · count: λ n (ALS-WR, Zhou et al. 2008) · frequency: λ (n + α₀ N)^ν, N rows on the other side
        (Rendle et al. 2022, eq. 6). A row with n = 0 has only dislikes: 0 solves it under any Λ above 0, and n is
        taken as 1 so that Λ is above 0.
        """
        n: Float64Array = np.maximum(counts, 1).astype(np.float64)
        if self.reg_scaling == "plain":
            return np.full(n.shape, self.reg_param)
        if self.reg_scaling == "count":
            return self.reg_param * n
        scaled: Float64Array = self.reg_param * (n + self.unobserved_weight * self.n_fixed) ** self.reg_exponent
        return scaled
