"""The settings of the model and of its training: sections that the jobs that train and that tune share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wals_spark.objective.automatic import AUTO, Auto
from wals_spark.objective.objective import RegScaling, Target, UnobservedOn
from wals_spark.objective.presets import PresetName
from wals_spark.settings.loader import Section
from wals_spark.settings.tables import EMPTY_OR_VERSION
from wals_spark.solvers.half_iteration import Method
from wals_spark.solvers.start import Start

Side = Literal["users", "items"]

POPULARITY = "popularity"
"""The source of negatives that is no model."""

SERVED: Literal["served"] = "served"
"""The version that is served, whatever its name."""

WARM_MAX_ITER = 4
"""The automatic number of iterations of a warm start: its second reaches the loss of the tenth of a cold one."""

Align = Annotated[
    Literal["none", "served"],
    Meta(
        description=(
            "Rotate the trained factors towards those of the served version, which changes no score: so an index of "
            "yesterday's items still means something (served)."
        )
    ),
]

RENAMED_TRAINING = {"train.spread_above": "train.heavy_row_threshold"}
"""Old names of settings and the new ones."""


class Negatives(Section, frozen=True, kw_only=True):
    """Unobserved pairs that weigh more than others: items that a model ranks high for a user, or popular ones."""

    per_user: Annotated[
        int, Meta(description="So many per user from each source; 0: none. About 20 is usual.", ge=0, le=10_000)
    ] = 0
    weight: Annotated[
        Annotated[float, Meta(ge=0)] | Auto,
        Meta(
            description=(
                "Weight of a negative beyond that of every unobserved pair, with target 0; auto: as much again, "
                "train.unobserved_weight."
            )
        ),
    ] = AUTO
    from_: Annotated[
        str | tuple[str, ...],
        Meta(
            description=(
                "The source: the folder or URL of a model's versions, whose served version ranks the items that a user "
                f"has not seen; or {POPULARITY}: items that a user has not seen, drawn in proportion to their users; "
                "or a list of several."
            )
        ),
    ] = msgspec.field(default="", name="from")
    seed: Annotated[int, Meta(description="Seed of what is drawn.")] = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources."""
        return tuple(filter(None, (self.from_,) if isinstance(self.from_, str) else self.from_))


class Train(Section, frozen=True, kw_only=True):
    """The model and how it is trained."""

    preset: Annotated[
        PresetName,
        Meta(
            description="Take the weights, lambda and defaults of another system; every other setting wins over them."
        ),
    ] = ""
    implicit: Annotated[
        bool,
        Meta(
            description=(
                "true: ratings are confidences, and unobserved pairs count. false: ratings are what is "
                "predicted, with weight 1, and unobserved pairs do not count."
            )
        ),
    ] = True
    target: Annotated[
        Target,
        Meta(
            description=(
                "The score that an observed pair should have: 1 (preference: Hu et al.), or its rating (rating: "
                "TensorFlow's WALS); unobserved pairs should have 0. Explicit feedback always has its ratings."
            )
        ),
    ] = "preference"
    biases: Annotated[
        bool | Auto,
        Meta(
            description=(
                "A bias per user and per item: two more coordinates, one of them 1, in each row of factors; auto: with "
                "explicit feedback, unless factors are nonnegative."
            )
        ),
    ] = AUTO
    global_mean: Annotated[
        bool | Auto,
        Meta(
            description=(
                "Explicit feedback: subtract the mean rating first; the manifest has it; auto: true, unless factors "
                "are nonnegative."
            )
        ),
    ] = AUTO
    unobserved_weight: Annotated[
        Annotated[float, Meta(ge=0)] | Auto,
        Meta(
            description=(
                "Weight of every unobserved pair, alpha_0; auto: so much that all of them together weigh ten times as "
                "much as the observed ones."
            )
        ),
    ] = AUTO
    unobserved_on: Annotated[
        UnobservedOn,
        Meta(
            description=(
                "On an observed pair, confidence replaces the unobserved weight (missing: Hu et al., MLlib), or "
                "is added to it (all: Rendle et al.)."
            )
        ),
    ] = "all"
    rank: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | Auto,
        Meta(description="Number of factors; auto: 128, but not more than there are users or items."),
    ] = AUTO
    max_iter: Annotated[
        Annotated[int, Meta(ge=1)] | Auto,
        Meta(description=f"Iterations; each solves both sides once; auto: 10, with a warm start {WARM_MAX_ITER}."),
    ] = AUTO
    tol: Annotated[
        float,
        Meta(
            description="Stop when an iteration lowers the loss by less than this share of it; 0: never.",
            ge=0,
            lt=1,
        ),
    ] = 0.0
    evaluate_every: Annotated[
        int,
        Meta(
            description=(
                "Evaluate on [held_out] after every so many iterations, and after the last; without held-out "
                "interactions nothing is evaluated."
            ),
            ge=1,
        ),
    ] = 1
    keep: Annotated[
        Literal["last", "best"],
        Meta(
            description=(
                "The iteration whose model is written: the last, or the one with the best held_out.metric, which is "
                "the model that max_iter = its number gives."
            )
        ),
    ] = "last"
    solver: Annotated[
        Method,
        Meta(
            description=(
                "How rows are solved: cg takes cg_steps conjugate gradient steps from the current factors, and solves "
                "exactly in the last half-iteration; exact takes steps until the relative error of each row is at most "
                "1e-5; cholesky solves exactly in float64, as non-negative factors always are."
            )
        ),
    ] = "cg"
    cg_steps: Annotated[int, Meta(description="Conjugate gradient steps per row and half-iteration.", ge=1, le=100)] = 3
    relaxation: Annotated[
        float,
        Meta(
            description=(
                "Over-relaxation, omega: from the second iteration on, a row moves omega times the way from its "
                "current factors to its solution, which about halves the number of iterations; 1: plain alternating "
                "least squares. The last half-iteration and non-negative factors are never relaxed."
            ),
            ge=1,
            lt=2,
        ),
    ] = 1.5
    negatives: Negatives = Negatives()
    reg_param: Annotated[
        Annotated[float, Meta(ge=0)] | Auto,
        Meta(
            description=(
                "Regularisation, lambda; auto: the less, the more observations a user and an item have, about 0.007 to "
                "0.02; in explicit feedback 0.1 times the ratings' standard deviation."
            )
        ),
    ] = AUTO
    reg_scaling: Annotated[
        RegScaling,
        Meta(
            description=(
                "What lambda is multiplied by, where n is the row's number of observations: 1 (plain), n (count: "
                "ALS-WR, as in MLlib), or (n + alpha_0 N)^reg_exponent, N being the rows of the other side "
                "(frequency)."
            )
        ),
    ] = "frequency"
    reg_exponent: Annotated[float, Meta(description="Exponent of frequency scaling, nu.", ge=0, le=2)] = 1.0
    user_reg_param: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="lambda of users; none: reg_param.")
    ] = None
    item_reg_param: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="lambda of items; none: reg_param.")
    ] = None
    nonnegative: Annotated[bool, Meta(description="Factors without negative entries.")] = False
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
    warm_start: Annotated[
        str,
        Meta(
            description=(
                f"Start from the factors of a version below output.path: its name, or {SERVED}. Ids that it does not "
                "have start as they always do; with another rank, biases or objective all do. Empty: none."
            ),
            pattern=EMPTY_OR_VERSION,
        ),
    ] = ""
    align: Align = "none"
    first_side: Annotated[
        Side,
        Meta(
            description=(
                "The side that an iteration solves first; with items, users are solved last and are exactly what "
                "fold-in computes from the items."
            )
        ),
    ] = "items"
    seed: Annotated[int, Meta(description="Seed of the start factors; a row's depend on seed, side and id alone.")] = 0
    user_blocks: Annotated[int, Meta(description="Blocks of users; 0: set from the data and the cluster.", ge=0)] = 0
    item_blocks: Annotated[int, Meta(description="Blocks of items; 0: set from the data and the cluster.", ge=0)] = 0
    heavy_row_threshold: Annotated[
        int,
        Meta(
            description=(
                "The normal equations of a user or item with more observations than this are computed in parts, by "
                "the blocks of the other side; 0: half of a mean block's observations, but at least 100,000."
            ),
            ge=0,
        ),
    ] = 0


class ResolvedTrain(Train, frozen=True, kw_only=True):
    """The model and how it is trained, with a number in place of each ``auto``."""

    biases: bool
    global_mean: bool
    unobserved_weight: float
    rank: int
    max_iter: int
    reg_param: float

    @property
    def width(self) -> int:
        """Numbers per row of factors: the rank, and two more with biases."""
        return self.rank + 2 if self.biases else self.rank

    @property
    def start_options(self) -> Start:
        """The distribution that start factors are drawn from."""
        not_centred = not self.implicit and not self.global_mean
        positive = self.start == "positive" or (self.start == "auto" and (self.nonnegative or not_centred))
        return Start(rank=self.rank, seed=self.seed, scale=self.start_scale, positive=positive)

    def lambda_of(self, side: Side) -> float:
        """The lambda of users or of items."""
        of_side = self.user_reg_param if side == "users" else self.item_reg_param
        return self.reg_param if of_side is None else of_side
