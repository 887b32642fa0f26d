"""Every setting of the weights of observations, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wals_spark.objective.automatic import AUTO, Auto
from wals_spark.objective.objective import ConfidenceFunction, ItemWeightFunction
from wals_spark.settings.loader import Section


class ConfidenceSettings(Section, frozen=True, kw_only=True):
    """The weight of an observed pair, by its rating r."""

    function: Annotated[
        ConfidenceFunction,
        Meta(
            description=(
                "c(r) = base + alpha (constant), base + alpha r (linear), base + alpha ln(1 + r/epsilon) (log), base + "
                "alpha sqrt(r) (sqrt)."
            )
        ),
    ] = "log"
    alpha: Annotated[
        Annotated[float, Meta(ge=0)] | Auto,
        Meta(
            description="Weight of the rating in the confidence; auto: the median rating adds 1 to the base.",
        ),
    ] = AUTO
    epsilon: Annotated[
        Annotated[float, Meta(gt=0)] | Auto,
        Meta(
            description="Scale of the logarithm: ratings far below it count linearly; auto: the median rating.",
        ),
    ] = AUTO
    base: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(
            description=(
                "Confidence of a rating of 0; none: train.unobserved_weight where confidence replaces it "
                "(train.unobserved_on = missing), 0 where confidence is added to it (all)."
            )
        ),
    ] = None
    impression_weight: Annotated[
        float,
        Meta(
            description="With input.nonpositive = impression: the confidence of a row with r <= 0 is base + this.", ge=0
        ),
    ] = 1.0
    item_weight: Annotated[
        ItemWeightFunction,
        Meta(
            description=(
                "What the confidence above the base is multiplied by, where c is the number of positive rows of the "
                "item: 1 (none), c (count), 1/c (inverse), (1/c)^item_exponent (power), or "
                "1/max(propensity_floor, (c/c_max)^item_exponent) (propensity)."
            )
        ),
    ] = "none"
    item_exponent: Annotated[
        float, Meta(description="Exponent of item_weight = power and of propensity.", ge=0, le=10)
    ] = 0.5
    propensity_floor: Annotated[
        float,
        Meta(
            description="The least propensity: item_weight = propensity multiplies by at most 1/propensity_floor.",
            gt=0,
            le=1,
        ),
    ] = 0.01
    half_life_days: Annotated[
        float,
        Meta(
            description=(
                "A rating loses half of its size per half_life_days of age, the time from input.timestamp to "
                "reference_time; this comes before duplicates are merged. 0: no decay."
            ),
            ge=0,
        ),
    ] = 0.0
    decay_floor: Annotated[
        float, Meta(description="The smallest share of a rating that decay leaves, whatever its age.", ge=0, le=1)
    ] = 0.0
    reference_time: Annotated[
        str,
        Meta(
            description="The time at which ages are taken, as 2026-01-31T00:00:00Z; empty: the newest row of the input."
        ),
    ] = ""


class ResolvedConfidence(ConfidenceSettings, frozen=True, kw_only=True):
    """The weight of an observed pair, with a number in place of each ``auto``."""

    alpha: float
    epsilon: float
