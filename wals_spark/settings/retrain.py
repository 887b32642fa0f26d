"""Settings of a nightly retraining: those of a training, what the data, the test and the gate ask for, what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.evaluate import measure_of
from wals_spark.settings.held_out import HeldOutOfTraining
from wals_spark.settings.loader import Section
from wals_spark.settings.tables import EMPTY_OR_VERSION, Aliases
from wals_spark.settings.train import Config
from wals_spark.settings.training import SERVED, Align, Train

Range = tuple[Annotated[float, Meta(ge=0)], Annotated[float, Meta(gt=0)]]


class Data(Section, frozen=True, kw_only=True):
    """Limits of tonight's data; most compare it with that of the last published runs."""

    empty: Annotated[
        Literal["refuse", "skip"],
        Meta(
            description=(
                "Without a row that is newer than those of the last published run: refuse the data, or skip the night, "
                "with exit code 0."
            )
        ),
    ] = "refuse"
    rows: Annotated[
        Range, Meta(description="The least and the most rows, as multiples of the median of the last published runs.")
    ] = (0.7, 2.0)
    users: Annotated[Range, Meta(description="The same for users.")] = (0.7, 2.0)
    items: Annotated[Range, Meta(description="The same for items.")] = (0.7, 2.0)
    min_day: Annotated[
        float,
        Meta(
            description=(
                "The least rows of any of the last 30 days that the last published run had, as a multiple of the rows "
                "that it had of that day: a partition is missing. Days before the first of tonight's are not compared."
            ),
            ge=0,
        ),
    ] = 0.5
    max_dropped: Annotated[
        float, Meta(description="The largest share of bad rows (input.bad_rows = drop).", ge=0, le=1)
    ] = 0.01
    max_merged_change: Annotated[
        float,
        Meta(
            description="The largest change of the share of rows that repeat a (user, item) pair, up or down; 0: any.",
            ge=0,
            le=1,
        ),
    ] = 0.2
    min_known: Annotated[
        float,
        Meta(description="The least share of rows whose user, and whose item, the served version has.", ge=0, le=1),
    ] = 0.5
    max_age_hours: Annotated[
        float, Meta(description="The largest age of the newest row; 0: any, such as of historical data.", ge=0)
    ] = 72.0
    max_user_share: Annotated[
        float, Meta(description="The largest share of the rows that one user has; 0: any.", ge=0, le=1)
    ] = 0.1
    max_item_share: Annotated[
        float, Meta(description="The largest share of the rows that one item has; 0: any.", ge=0, le=1)
    ] = 0.25
    max_rating: Annotated[
        float,
        Meta(description="The largest magnitude of a rating, as a multiple of the largest before; 0: any.", ge=0),
    ] = 100.0
    max_rating_change: Annotated[
        float,
        Meta(
            description="The largest factor by which the median and the 90 % quantile of ratings change; 0: any.", ge=0
        ),
    ] = 3.0
    min_lift: Annotated[
        float,
        Meta(
            description=(
                "The least lift of the served version: by how much it scores tonight's test pairs higher than their "
                "users with each other's items, as a multiple of what it was on its own night; below, ids or times are "
                "mixed up. Of models of preferences; 0: any."
            ),
            ge=0,
        ),
    ] = 0.5


class NightlySplit(Section, frozen=True, kw_only=True):
    """Which of the interactions are tonight's test: the newest. Late rows of earlier days are for training."""

    days: Annotated[float, Meta(description="The rows of so many days before the newest row are the test.", gt=0)] = 1.0


class Gate(Section, frozen=True, kw_only=True):
    """What tonight's candidate must reach on tonight's test to be served."""

    metric: Annotated[
        str, Meta(description="recall, precision, ndcg, map, mrr or hit_rate, with @k: what decides.")
    ] = "ndcg@20"
    relative: Annotated[
        float,
        Meta(
            description=(
                "The candidate may be worse than the served version by less than this share of its value: the lower "
                "end of the 95 % interval of the difference must be above that."
            ),
            gt=0,
            lt=1,
        ),
    ] = 0.05
    absolute: Annotated[float, Meta(description="The least value of the candidate.", ge=0)] = 0.0
    popularity: Annotated[bool, Meta(description="The candidate must be better than popularity.")] = True
    anchor: Annotated[
        bool,
        Meta(
            description=(
                "Compare with the best version served so far, too, by the same share: 2 % lost per night are 45 % "
                "after thirty."
            )
        ),
    ] = True
    min_users: Annotated[int, Meta(description="The least number of test users.", ge=2)] = 100
    max_users: Annotated[
        int, Meta(description="Of more test users so many are drawn, by a hash of their ids.", ge=2)
    ] = 10_000
    bootstrap: Annotated[int, Meta(description="Bootstrap replicates of the differences.", ge=50, le=10_000)] = 500
    seed: Annotated[int, Meta(description="Seed of the replicates, and of the hash that draws users.")] = 0
    max_change: Annotated[
        float,
        Meta(
            description=(
                "The largest factor by which the loss per observation, and the median length of the rows of a side, "
                "may differ from the served version's."
            ),
            gt=1,
        ),
    ] = 3.0
    max_zero_rows: Annotated[
        float, Meta(description="The largest share of rows of a side that are all zeros.", ge=0, le=1)
    ] = 0.05

    @property
    def measure(self) -> tuple[str, int]:
        """The name of the metric and its k."""
        name, k = measure_of("gate.metric", self.metric, without_k=False)
        return name, k or 1


class Retain(Section, frozen=True, kw_only=True):
    """Which versions are kept: of those that were served, and of refused candidates the last one."""

    versions: Annotated[
        int,
        Meta(
            description=(
                "How many versions that are or were served are kept; always the served one, the one before it, and, "
                "if there is room, the best so far."
            ),
            ge=2,
        ),
    ] = 5
    grace_hours: Annotated[
        float,
        Meta(description="A version is removed when it has not been served for so long: it may still be read.", ge=0),
    ] = 24.0
    records: Annotated[int, Meta(description="How many records of runs (runs/<id>/run.json) are kept.", ge=10)] = 400


class NightlyTrain(Train, frozen=True, kw_only=True):
    """The model and how it is trained; a night starts from the served version, and is aligned with it."""

    warm_start: Annotated[
        str,
        Meta(
            description="Start from the factors of a version below output.path, as in train.", pattern=EMPTY_OR_VERSION
        ),
    ] = SERVED
    align: Align = SERVED


_HELD_OUT = "a retraining holds its test out itself, by split.days"


class RetrainSettings(Config, frozen=True, kw_only=True):
    """All settings of a nightly retraining."""

    unused: ClassVar[Mapping[str, str]] = {
        **{f"held_out.{field.name}": _HELD_OUT for field in msgspec.structs.fields(HeldOutOfTraining)},
        **{f"held_out.aliases.{field.name}": _HELD_OUT for field in msgspec.structs.fields(Aliases)},
        **{f"train.{key}": _HELD_OUT for key in ("evaluate_every", "keep")},
        "output.version": "the version of a retraining is called as its run; set run.id",
    }

    train: NightlyTrain = NightlyTrain()
    data: Data = Data()
    split: NightlySplit = NightlySplit()
    gate: Gate = Gate()
    retain: Retain = Retain()

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """As for a training; non-negative factors are not rotated."""
        train = values.get("train", {})
        if isinstance(train, dict) and str(train.get("nonnegative")).lower() in ("true", "1"):
            values = {**values, "train": {"align": "none", **train}}
        return super().completed(values)

    @property
    def training(self) -> Config:
        """The settings of the training, which does not serve what it writes: that is for the gate."""
        sections = {name: getattr(self, name) for name in Config.__struct_fields__}
        return Config(**{**sections, "output": msgspec.structs.replace(self.output, publish=False)})

    def check_together(self, set_values: dict[str, Any]) -> None:
        """Refuse what a training refuses, ranges without numbers, and a gate without a metric."""
        super().check_together(set_values)
        _ = self.gate.measure
        for name in ("rows", "users", "items"):
            least, most = getattr(self.data, name)
            if least >= most:
                raise ConfigError(f"data.{name} = [{least}, {most}]: the least is not less than the most")
        if not self.input.timestamp:
            raise ConfigError("input.timestamp is not set: name the column of times, by which tonight's test is split")
