"""Every setting of training, with its default, its meaning and its limits: the one place that states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.objective.confidence import Confidence, Decay, ItemWeight
from wals_spark.objective.objective import Objective
from wals_spark.objective.presets import PRESETS
from wals_spark.settings.loader import Section, Settings, load_settings


class Input(Section, frozen=True, kw_only=True):
    """Where the interactions are and how to read them."""

    path: Annotated[
        str, Meta(description="File, folder or URL of the interactions; a table's name with format = table.")
    ] = ""
    format: Annotated[
        str,
        Meta(
            description="Anything spark.read has: parquet, csv, json, orc, delta, ...; or table.",
            min_length=1,
        ),
    ] = "parquet"
    options: Annotated[dict[str, str], Meta(description="Options for the reader, such as header and sep for csv.")] = (
        msgspec.field(default_factory=dict)
    )
    user: Annotated[str, Meta(description="Column of user ids: string or integer.", min_length=1)] = "user"
    item: Annotated[str, Meta(description="Column of item ids: string or integer.", min_length=1)] = "item"
    rating: Annotated[
        str, Meta(description="Column of ratings (counts, hours, stars, ...); empty: 1 for every row.")
    ] = "rating"
    weight: Annotated[
        str,
        Meta(description="Column of your own weights, from 0: each multiplies its row's confidence above the base."),
    ] = ""
    timestamp: Annotated[
        str,
        Meta(description="Column of times: a timestamp, a date, or unix seconds; for duplicates = last and for decay."),
    ] = ""
    duplicates: Annotated[
        Literal["sum", "last", "max", "refuse"],
        Meta(
            description=(
                "What several rows of one (user, item) pair become; last is by timestamp. Their weights: sum keeps the "
                "mean, last and max that of the row they keep."
            )
        ),
    ] = "sum"
    bad_rows: Annotated[
        Literal["refuse", "drop"],
        Meta(
            description="Rows with a null or empty id or an unusable rating: refuse the input, or drop and count them."
        ),
    ] = "refuse"
    nonpositive: Annotated[
        Literal["bad", "unobserved", "dislike", "impression"],
        Meta(
            description=(
                "A rating <= 0 is a bad row; or as if it were not there; or a stated dislike (target 0 with "
                "the confidence of its magnitude); or an impression that nothing came of (target 0 with "
                "confidence.impression_weight)."
            )
        ),
    ] = "bad"


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


NewVersion = Annotated[
    str,
    Meta(description="Name of the new version; empty: the time in UTC.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$|^$"),
]
Publish = Annotated[bool, Meta(description="Make this version the served one (CURRENT) when it is complete.")]


class Output(Section, frozen=True, kw_only=True):
    """Where the model goes."""

    path: Annotated[str, Meta(description="Folder or URL of all versions of the model.")] = ""
    version: NewVersion = ""
    publish: Publish = True


class Ids(Section, frozen=True, kw_only=True):
    """A table of ids."""

    path: Annotated[str, Meta(description="File, folder or URL; a table's name with format = table; empty: none.")] = ""
    format: Annotated[str, Meta(description="Anything spark.read has; or table.", min_length=1)] = "parquet"
    options: Annotated[dict[str, str], Meta(description="Options for the reader, such as header for csv.")] = (
        msgspec.field(default_factory=dict)
    )
    column: Annotated[str, Meta(description="Column of the ids.", min_length=1)] = "id"


class StoredModel(Section, frozen=True, kw_only=True):
    """The model to use."""

    path: Annotated[str, Meta(description="Folder or URL of all versions: what output.path named in training.")] = ""
    version: Annotated[str, Meta(description="Name of the version; empty: the served one (CURRENT).")] = ""

    def check(self) -> None:
        """Refuse a model without a place."""
        if not self.path:
            raise ConfigError("model.path is not set: name the folder that output.path named in training")


class Config(Settings, frozen=True, kw_only=True):
    """All settings of a training run."""

    input: Input = Input()
    confidence: ConfidenceSettings = ConfidenceSettings()
    train: Train = Train()
    output: Output = Output()

    def objectives(
        self, *, users: int, items: int, mean_rating: float = 0.0, largest_item_count: int = 1
    ) -> dict[str, Objective]:
        """What is minimised, as executors get it, for each side.

        ``users`` and ``items`` count their rows, ``largest_item_count`` the most popular item's positive rows.
        """
        train, chosen = self.train, self.confidence
        unobserved_weight = train.unobserved_weight if train.implicit else 0.0
        confidence = Confidence("constant", 1.0, base=0.0)  # of explicit ratings
        if train.implicit:
            confidence = Confidence(
                chosen.function,
                chosen.alpha,
                chosen.epsilon,
                chosen.base if chosen.base is not None else unobserved_weight * (train.unobserved_on == "missing"),
                chosen.impression_weight if self.input.nonpositive == "impression" else None,
            )
        common = Objective(
            confidence=confidence,
            item_weight=ItemWeight(chosen.item_weight, chosen.item_exponent, chosen.propensity_floor),
            unobserved_weight=unobserved_weight,
            unobserved_on=train.unobserved_on,
            target=train.target if train.implicit else "rating",
            offset=mean_rating if train.global_mean else 0.0,
            reg_scaling=train.reg_scaling,
            reg_exponent=train.reg_exponent,
            nonnegative=train.nonnegative,
            largest_item_count=largest_item_count,
        )

        def of_side(reg_param: float | None, n_fixed: int, held: int) -> Objective:
            return replace(
                common,
                reg_param=train.reg_param if reg_param is None else reg_param,
                n_fixed=n_fixed,
                held=held if train.biases else None,
            )

        return {  # a user's row ends in (bias, 1), an item's in (1, bias)
            "users": of_side(train.user_reg_param, items, train.rank + 1),
            "items": of_side(train.item_reg_param, users, train.rank),
        }

    def as_trained(self, table: Input) -> Input:
        """Another input, its rows read by the meaning that they had in this training.

        Raises
        ------
        ConfigError
            If that needs a time and ``table`` names no column of times.
        """
        source = msgspec.structs.replace(table, duplicates=self.input.duplicates, nonpositive=self.input.nonpositive)
        check_input(source, "interactions")
        if self.confidence.half_life_days and not table.timestamp:
            raise ConfigError(
                "input.timestamp is not set: ratings fade with age in this model; name the column of times"
            )
        return source

    def decay(self) -> Decay | None:
        """How ratings fade, or None if they do not."""
        chosen = self.confidence
        if not chosen.half_life_days:
            return None
        moment = chosen.reference_time
        reference = moment_in_seconds(moment, "confidence.reference_time") if moment else None
        return Decay(chosen.half_life_days, chosen.decay_floor, reference)

    @classmethod
    def completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The settings of the preset that ``given`` names, if any, with ``given`` on top."""
        train = given.get("train")
        preset = PRESETS.get(train.get("preset", "")) if isinstance(train, dict) else None
        if preset is None:
            return given
        sections = {section: dict(settings) for section, settings in preset.items()}
        for section, settings in given.items():
            sections[section] = {**sections.get(section, {}), **settings} if isinstance(settings, dict) else settings
        return sections

    def check_together(self, given: dict[str, Any]) -> None:
        """Refuse an input without columns of its own, and an objective that has no meaning."""
        if not self.output.path:
            raise ConfigError("output.path is not set: name the folder that holds the model's versions")
        check_input(self.input, "interactions to train on")
        _check_objective(self, given)
        if self.confidence.half_life_days and not self.input.timestamp:
            raise ConfigError("confidence.half_life_days needs input.timestamp: name the column of times")
        if self.confidence.reference_time:
            moment_in_seconds(self.confidence.reference_time, "confidence.reference_time")


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a training run: `load_settings`."""
    return load_settings(Config, path, overrides)


def check_input(table: Input, purpose: str, *, section: str = "input") -> None:
    """Refuse a table of interactions without a path, or whose columns contradict each other."""
    if not table.path:
        raise ConfigError(f"{section}.path is not set: name the {purpose}")
    if table.duplicates == "last" and not table.timestamp:
        raise ConfigError(f"{section}.duplicates = last needs {section}.timestamp: name the column of times")
    roles = ("user", "item", "rating", "weight", "timestamp")
    named = [column for role in roles if (column := getattr(table, role))]
    if len(set(named)) < len(named):
        raise ConfigError(f"{section}: one column is named twice among {', '.join(roles)}: {named}")


def moment_in_seconds(moment: str, setting: str) -> float:
    """ISO 8601 as seconds since 1970; without a zone, UTC."""
    try:
        parsed = datetime.fromisoformat(moment.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    except ValueError as error:
        raise ConfigError(f"{setting} = {moment}: a time like 2026-01-31T00:00:00Z is needed") from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()


_POPULARITY = ("item_weight", "item_exponent", "propensity_floor")


def _check_objective(config: Config, given: dict[str, Any]) -> None:
    """Refuse an objective that has no meaning, or no single minimum."""
    train, chosen = config.train, config.confidence
    given_train, given_confidence = given.get("train", {}), given.get("confidence", {})
    if not train.implicit:
        idle = [f"confidence.{key}" for key in given_confidence if key not in _POPULARITY]
        idle += [f"train.{key}" for key in ("unobserved_weight", "unobserved_on", "target") if key in given_train]
        if idle:
            raise ConfigError(
                f"{', '.join(idle)}: no meaning with train.implicit = false, where the rating is what is predicted and "
                "weighs 1 (times input.weight, if there is one)"
            )
        if chosen.item_weight not in ("none", "propensity"):
            raise ConfigError(
                f"confidence.item_weight = {chosen.item_weight}: defined by what an observation weighs beyond the "
                "unobserved ones, which do not count with train.implicit = false; propensity is defined there"
            )
    changed = {key for key in given_confidence if getattr(chosen, key) != getattr(ConfidenceSettings(), key)}
    for key, needs in (("item_exponent", ("power", "propensity")), ("propensity_floor", ("propensity",))):
        if key in changed and chosen.item_weight not in needs:
            raise ConfigError(f"confidence.{key} needs confidence.item_weight = {' or '.join(needs)}")
    if "impression_weight" in changed and config.input.nonpositive != "impression":
        raise ConfigError("confidence.impression_weight needs input.nonpositive = impression: which rows are they?")
    if config.input.nonpositive != "bad" and (not train.implicit or train.target == "rating"):
        raise ConfigError(
            f"input.nonpositive = {config.input.nonpositive}: no meaning where the rating itself is the target "
            "(train.implicit = false or train.target = rating)"
        )
    if train.global_mean and train.implicit:
        raise ConfigError("train.global_mean: implicit feedback has no mean rating; it needs train.implicit = false")
    if train.nonnegative and (train.global_mean or train.start == "normal"):
        cause = "train.global_mean leaves ratings below 0" if train.global_mean else "train.start = normal is not"
        raise ConfigError(f"train.nonnegative: factors are to be non-negative, and {cause}")
    lambdas = {train.reg_param if own is None else own for own in (train.user_reg_param, train.item_reg_param)}
    if 0 in lambdas and (not train.implicit or train.unobserved_weight == 0):
        raise ConfigError(
            "train.reg_param = 0 without unobserved weight: a row with fewer observations than factors has no single "
            "solution; set train.reg_param (or user_reg_param, item_reg_param) above 0"
        )
