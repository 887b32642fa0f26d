"""Confidence c(r): how much an observed rating weighs, by its size, its age and its item's popularity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wals_spark.arrays.types import Float64Array, FloatArray, Indices

FUNCTIONS = ("constant", "linear", "log", "sqrt")
ITEM_WEIGHTS = ("none", "count", "inverse", "power", "propensity")


@dataclass(frozen=True)
class Confidence:
    """The confidence function and its parameters (Hu, Koren and Volinsky 2008, §4; log is their eq. 6).

    ``base`` is the confidence of a rating of 0: 1 in Hu et al. and MLlib, 0 in `implicit` and for explicit ratings
    with a constant. With ``impression`` set, a rating of zero or below is an item that was shown and not taken, and
    its confidence rises above the base by ``impression`` instead of by its magnitude.
    """

    function: str = "linear"
    alpha: float = 1.0
    epsilon: float = 1.0
    base: float = 1.0
    impression: float | None = None

    def of(self, ratings: FloatArray, multiplier: Float64Array | float = 1.0) -> Float64Array:
        """``c(r)``, elementwise: base plus the multiplier times one of

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
            raise ValueError(f"unknown confidence function {self.function!r}: one of {', '.join(FUNCTIONS)}")
        if self.impression is not None:
            above = np.where(ratings > 0, above, self.impression)
        return self.base + multiplier * above


@dataclass(frozen=True)
class ItemWeight:
    """What an item's popularity does to the weight of its observations: a multiplier of confidence above the base.

    With c_i the number of positive observations of item i, and c_max the largest:

    none: 1 · count: c_i · inverse: 1/c_i · power: (1/c_i)^exponent (the column weights of TensorFlow's WALS and its
    tutorial) · propensity: 1 / max(floor, (c_i/c_max)^exponent), the inverse of a clipped power-law propensity (Saito
    et al., WSDM 2020, §5.1; Schnabel et al., ICML 2016, for explicit ratings)
    """

    function: str = "none"
    exponent: float = 0.5
    floor: float = 0.01

    def of(self, counts: Indices, largest: int) -> Float64Array:
        """The multiplier of each item, shape (n_items,); an item that nobody took counts 1."""
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
            raise ValueError(f"unknown item weight {self.function!r}: one of {', '.join(ITEM_WEIGHTS)}")
        return multiplier


@dataclass(frozen=True)
class Decay:
    """How an event's rating fades with its age: halved every ``half_life_days``, never below ``floor`` of itself.

    ``reference`` is the moment ages count from, in unix seconds; None stands for the newest event. What happened
    after it has age 0.
    """

    half_life_days: float
    floor: float = 0.0
    reference: float | None = None
