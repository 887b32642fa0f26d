"""Values of settings that are ``auto``: functions of what is counted before training starts.

The rules, where they come from, and how well they do on data that they were not fitted on: ADR 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from wals_spark.arrays.distribution import Distribution

Auto = Literal["auto"]
AUTO: Auto = "auto"


@dataclass(frozen=True)
class DataCounts:
    """What is known of interactions before they are trained on.

    ``observations`` counts distinct pairs, and ``ratings`` are theirs; ``mean_weight`` is the mean of their own weights
    (``input.weight``), 1 without any; ``largest_item_count`` is the number of pairs with a positive rating that the
    most popular item has.
    """

    users: int
    items: int
    observations: int = 0
    ratings: Distribution = field(default_factory=Distribution)
    largest_item_count: int = 1
    mean_weight: float = 1.0

    def without_zeros(self, number: int) -> DataCounts:
        """Without so many observations of rating 0 and weight 1."""
        if not number:
            return self
        left = self.observations - number
        weight = (self.mean_weight * self.observations - number) / max(left, 1)
        return replace(self, observations=left, ratings=self.ratings.without_zeros(number), mean_weight=weight)

    @property
    def density(self) -> float:
        """The share of all pairs that are observed."""
        return self.observations / max(self.users * self.items, 1)

    @property
    def median_rating(self) -> float:
        """The median magnitude of the ratings, within 1 %; 1 if there are none, or if it is 0."""
        magnitudes = self.ratings.magnitudes
        return (magnitudes.quantiles([0.5])[0] or 1.0) if magnitudes.size else 1.0


@dataclass(frozen=True)
class Rules:
    """The constants of the rules. Their values were fitted on the data sets of ADR 20 by `scripts/study_defaults`.

    Attributes
    ----------
    rank, max_iter : int
        The rank that is taken where the data has as many users and items; the number of iterations.
    unobserved_per_observed : float
        c: the weight of all unobserved pairs together over that of the observed ones, α₀ U I / Σ w. Between 3 and 27 in
        the tuned settings of ML-1M, ML-20M, MSD and Pinterest (Rendle et al. 2022), whatever their size.
    lambda_scale : float
        Implicit feedback: λ over σ^¾, see `noise`.
    explicit_lambda : float
        Λ of a row of ratings over their number and their standard deviation, so that ratings on another scale have the
        same model.
    """

    rank: int = 128
    max_iter: int = 10
    unobserved_per_observed: float = 10.0
    lambda_scale: float = 0.175
    explicit_lambda: float = 0.1

    def rank_of(self, counts: DataCounts) -> int:
        """The number of factors."""
        return max(1, min(self.rank, counts.users, counts.items))

    def unobserved_weight(self, counts: DataCounts, mean_weight: float) -> float:
        """α₀, in proportion to the density; ``mean_weight`` is w̄, the mean weight of an observation."""
        return self.unobserved_per_observed * mean_weight * counts.density

    def penalty(self, n: float, n_fixed: int, *, mean_weight: float, alpha_0: float, counts: DataCounts) -> float:
        """Λ = λ (w̄ n + α₀ N) of a row of implicit feedback with ``n`` observations; the other side has N rows."""
        of_observed = mean_weight * counts.observations
        ratio = alpha_0 * counts.users * counts.items / of_observed if of_observed else 0.0
        lambda_ = self.lambda_scale * math.pow(noise(counts, ratio), 0.75)
        return lambda_ * (mean_weight * n + alpha_0 * n_fixed)

    def explicit_penalty(self, n: float, rating_deviation: float) -> float:
        """Λ of a row with ``n`` ratings; where all ratings are equal, as with a deviation of 1."""
        return self.explicit_lambda * (rating_deviation or 1.0) * n


RULES = Rules()


def noise(counts: DataCounts, unobserved_per_observed: float) -> float:
    """σ = (1/√n̄_u + 1/√n̄_i) / (1 + c), n̄_u and n̄_i the mean number of observations of a user and of an item.

    Divide each observation by √(d_u d_i), d the weight of all pairs of its row and of its column: with Λ = λ d, only
    directions of that matrix with a singular value above λ stay in the factors. σ is the largest singular value that
    as many observations have in places drawn at random (the edge of Marchenko and Pastur's law).
    """
    of_user, of_item = (counts.observations / max(rows, 1) for rows in (counts.users, counts.items))
    return (1 / math.sqrt(max(of_user, 1.0)) + 1 / math.sqrt(max(of_item, 1.0))) / (1 + unobserved_per_observed)
