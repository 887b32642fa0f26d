"""Confidence c(r): how much an observed rating weighs against the weight 1 of an unobserved pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FUNCTIONS = ("constant", "linear", "log", "sqrt")


@dataclass(frozen=True)
class Confidence:
    """The confidence function and its parameters (Hu, Koren and Volinsky 2008, §4; log is their eq. 6)."""

    function: str = "linear"
    alpha: float = 1.0
    epsilon: float = 1.0

    def excess(self, ratings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """``c(r) − 1``, elementwise, for r ≥ 0.

        constant: α · linear: α·r · log: α·ln(1 + r/ε) · sqrt: α·√r
        """
        r = ratings.astype(np.float64)
        if self.function == "constant":
            return np.full(r.shape, self.alpha)
        if self.function == "linear":
            return self.alpha * r
        if self.function == "log":
            return self.alpha * np.log1p(r / self.epsilon)
        if self.function == "sqrt":
            return self.alpha * np.sqrt(r)
        raise ValueError(f"unknown confidence function {self.function!r}: one of {', '.join(FUNCTIONS)}")
