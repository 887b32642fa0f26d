"""Confidence c(r): how much an observed rating weighs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FUNCTIONS = ("constant", "linear", "log", "sqrt")


@dataclass(frozen=True)
class Confidence:
    """The confidence function and its parameters (Hu, Koren and Volinsky 2008, §4; log is their eq. 6).

    ``base`` is the confidence of a rating of 0: 1 in Hu et al. and MLlib, 0 in `implicit` and for explicit ratings
    with a constant.
    """

    function: str = "linear"
    alpha: float = 1.0
    epsilon: float = 1.0
    base: float = 1.0

    def of(self, ratings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """``c(r)``, elementwise, for r ≥ 0: base plus one of

        constant: α · linear: α·r · log: α·ln(1 + r/ε) · sqrt: α·√r
        """  # noqa: D400
        r = ratings.astype(np.float64)
        if self.function == "constant":
            return np.full(r.shape, self.base + self.alpha)
        if self.function == "linear":
            return self.base + self.alpha * r
        if self.function == "log":
            return self.base + self.alpha * np.log1p(r / self.epsilon)
        if self.function == "sqrt":
            return self.base + self.alpha * np.sqrt(r)
        raise ValueError(f"unknown confidence function {self.function!r}: one of {', '.join(FUNCTIONS)}")


@dataclass(frozen=True)
class Decay:
    """How an event's rating fades with its age: halved every ``half_life_days``, never below ``floor`` of itself.

    ``reference`` is the moment ages count from, in unix seconds; None stands for the newest event. What happened
    after it has age 0.
    """

    half_life_days: float
    floor: float = 0.0
    reference: float | None = None
