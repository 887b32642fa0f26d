"""The settings of the model and of its training, with defaults, meaning and limits."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wals_spark.settings.loader import Section


class ConfidenceSettings(Section, frozen=True, kw_only=True):
    """How much an observed rating r weighs against an unobserved pair's 1."""

    function: Annotated[
        Literal["constant", "linear", "log", "sqrt"],
        Meta(
            description=(
                "c(r) = base + alpha (constant), base + alpha r (linear), base + alpha ln(1 + r/epsilon) (log), base + "
                "alpha sqrt(r) (sqrt)."
            )
        ),
    ] = "log"
    alpha: Annotated[float, Meta(description="Weight of the rating in the confidence.", ge=0)] = 10.0
    epsilon: Annotated[
        float, Meta(description="Scale of the logarithm: ratings far below it count linearly.", gt=0)
    ] = 1.0
    base: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(
            description=(
                "Confidence of a rating of 0; none: train.unobserved_weight where confidence replaces it "
                "(unobserved_on = missing), 0 where it comes on top (all)."
            )
        ),
    ] = None
    impression_weight: Annotated[
        float, Meta(description="With input.nonpositive = impression: c = base + this for rows with r <= 0.", ge=0)
    ] = 1.0
    item_weight: Annotated[
        Literal["none", "count", "inverse", "power", "propensity"],
        Meta(
            description=(
                "What multiplies the confidence above the base, by the number c of an item's positive rows: c (count), "
                "1/c (inverse), (1/c)^item_exponent (power), or 1/max(propensity_floor, (c/c_max)^item_exponent) "
                "(propensity)."
            )
        ),
    ] = "none"
    item_exponent: Annotated[
        float, Meta(description="Exponent of item_weight = power and propensity.", ge=0, le=10)
    ] = 0.5
    propensity_floor: Annotated[
        float, Meta(description="The least propensity: no item weighs more than its inverse.", gt=0, le=1)
    ] = 0.01
    half_life_days: Annotated[
        float,
        Meta(
            description=(
                "Each row's rating is halved for every so many days between input.timestamp and reference_time, before "
                "duplicates are merged; 0: no decay."
            ),
            ge=0,
        ),
    ] = 0.0
    decay_floor: Annotated[float, Meta(description="The least share of a rating that decay leaves.", ge=0, le=1)] = 0.0
    reference_time: Annotated[
        str,
        Meta(description="The moment decay counts from, as 2026-01-31T00:00:00Z; empty: the newest row of the input."),
    ] = ""


class Train(Section, frozen=True, kw_only=True):
    """The model and how it is found."""

    preset: Annotated[
        Literal["", "hkv", "mllib", "mllib-explicit", "implicit", "rendle", "google-wals", "qmf", "lenskit"],
        Meta(description="Start from the weights, lambda and defaults of another system; other settings win over it."),
    ] = ""
    implicit: Annotated[
        bool,
        Meta(
            description=(
                "True: ratings are confidences, and unobserved pairs count. False: ratings are what is "
                "predicted, with weight 1, and unobserved pairs do not count."
            )
        ),
    ] = True
    target: Annotated[
        Literal["preference", "rating"],
        Meta(
            description=(
                "What the score of an observed pair should be: 1 (preference: Hu et al.), or its rating, with 0 for "
                "all others (rating: TensorFlow's WALS). Explicit feedback always has its ratings."
            )
        ),
    ] = "preference"
    biases: Annotated[
        bool,
        Meta(description="A bias for each user and item: two more coordinates, one of them 1, in each row of factors."),
    ] = False
    global_mean: Annotated[
        bool, Meta(description="Explicit feedback: take the mean rating off first; it is in the manifest.")
    ] = False
    unobserved_weight: Annotated[float, Meta(description="Weight of every unobserved pair, alpha_0.", ge=0)] = 1.0
    unobserved_on: Annotated[
        Literal["missing", "all"],
        Meta(
            description=(
                "Confidence replaces the unobserved weight on an observed pair (missing: Hu et al., MLlib), or "
                "comes on top of it (all: Rendle et al.)."
            )
        ),
    ] = "missing"
    rank: Annotated[int, Meta(description="Number of factors.", ge=1, le=4096)] = 64
    max_iter: Annotated[int, Meta(description="Iterations; each solves both sides once.", ge=1)] = 10
    tol: Annotated[
        float,
        Meta(
            description="Stop when an iteration lowers the loss by less than this share; 0: never.",
            ge=0,
            lt=1,
        ),
    ] = 0.0
    solver: Annotated[
        Literal["cg", "exact", "cholesky"],
        Meta(
            description=(
                "How rows are solved: cg takes cg_steps conjugate gradient steps from the row as it stands, and is "
                "exact at the very end; exact takes them until each row is exact to 1e-5; cholesky is exact in "
                "float64, as non-negative factors always are."
            )
        ),
    ] = "cg"
    cg_steps: Annotated[int, Meta(description="Conjugate gradient steps a row and half-iteration.", ge=1, le=100)] = 3
    relaxation: Annotated[
        float,
        Meta(
            description=(
                "Over-relaxation, omega: from the second iteration on, rows are moved so many times as far as they are "
                "solved to, which takes about half the iterations; 1: plain alternating least squares. The last "
                "half-iteration and non-negative factors are never relaxed."
            ),
            ge=1,
            lt=2,
        ),
    ] = 1.5
    reg_param: Annotated[float, Meta(description="Regularisation, lambda.", ge=0)] = 1.0
    reg_scaling: Annotated[
        Literal["plain", "count", "frequency"],
        Meta(
            description=(
                "lambda for every row alike (plain), times the row's number of observations n (count: ALS-WR, "
                "as MLlib does), or times (n + alpha_0 N)^reg_exponent with N rows on the other side (frequency)."
            )
        ),
    ] = "count"
    reg_exponent: Annotated[float, Meta(description="Exponent of frequency scaling, nu.", ge=0, le=2)] = 1.0
    user_reg_param: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="lambda of users, where it differs from reg_param.")
    ] = None
    item_reg_param: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="lambda of items, where it differs from reg_param.")
    ] = None
    nonnegative: Annotated[bool, Meta(description="Factors without negative entries: parts that only add up.")] = False
    start: Annotated[
        Literal["auto", "normal", "positive"],
        Meta(
            description=(
                "Factors start from a normal distribution (normal) or from its absolute values (positive); auto: "
                "positive for non-negative factors and for ratings that are not centred, else normal."
            )
        ),
    ] = "auto"
    start_scale: Annotated[float, Meta(description="Factors start from N(0, start_scale / sqrt(rank)).", gt=0)] = 1.0
    first_side: Annotated[
        Literal["users", "items"],
        Meta(
            description=(
                "The side an iteration solves first; with items, users come last and are the exact fold-in of "
                "the items."
            )
        ),
    ] = "items"
    seed: Annotated[int, Meta(description="Seed of the start; a row's start depends on seed, side and id alone.")] = 0
    user_blocks: Annotated[int, Meta(description="Blocks of users; 0: chosen from the data and the cluster.", ge=0)] = 0
    item_blocks: Annotated[int, Meta(description="Blocks of items; 0: chosen from the data and the cluster.", ge=0)] = 0
    heavy_row_threshold: Annotated[
        int,
        Meta(
            description=(
                "A user or item of more observations is summed by all blocks of the other side, not by one task; 0: "
                "half of what a block has, if that is 100,000 or more."
            ),
            ge=0,
        ),
    ] = 0

    @property
    def width(self) -> int:
        """Numbers in a row of factors: the rank, and with biases two more."""
        return self.rank + 2 if self.biases else self.rank

    @property
    def positive_start(self) -> bool:
        """Whether factors start without negative entries."""
        uncentred = not self.implicit and not self.global_mean
        return self.start == "positive" or (self.start == "auto" and (self.nonnegative or uncentred))
