"""Every setting of a split, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Input, check_input, moment_in_seconds


class SplitOptions(Section, frozen=True, kw_only=True):
    """Which interactions are for the test."""

    by: Annotated[
        Literal["time", "last", "random", "users"],
        Meta(
            description=(
                "time: all from a moment on; last: the pairs each user came to last; random: a random share of each "
                "user's pairs; users: a random share of the users is held out, their pairs in a part to fold in and a "
                "part to test (strong generalisation)."
            )
        ),
    ] = "last"
    moment: Annotated[
        str,
        Meta(description="by = time: where the test begins, as 2026-01-31T00:00:00Z; empty: with the last share."),
    ] = ""
    share: Annotated[
        float,
        Meta(
            description="by = time: at most this share of the rows; random: of each user's pairs; users: of the users.",
            gt=0,
            lt=1,
        ),
    ] = 0.2
    n: Annotated[int, Meta(description="by = last: how many pairs of each user.", ge=1)] = 1
    fold_in_share: Annotated[
        float, Meta(description="by = users: the share of a held-out user's pairs to fold in.", gt=0, lt=1)
    ] = 0.8
    keep: Annotated[
        int,
        Meta(
            description="by = last, random, users: at least so many pairs of a user stay in training, or to fold in.",
            ge=0,
        ),
    ] = 1
    seed: Annotated[int, Meta(description="by = random, users: another seed, another choice.")] = 0

    @property
    def timed(self) -> bool:
        """Whether rows need a time."""
        return self.by in ("time", "last")

    @property
    def moment_seconds(self) -> float | None:
        """The moment in seconds since 1970, or None if the share decides."""
        return moment_in_seconds(self.moment, "split.moment") if self.moment else None


class SplitOutput(Section, frozen=True, kw_only=True):
    """Where the parts go."""

    path: Annotated[str, Meta(description="Folder or URL that is to hold train, test and fold_in; a new one.")] = ""


class SplitSettings(Settings, frozen=True, kw_only=True):
    """All settings of a split."""

    input: Input = Input()
    split: SplitOptions = SplitOptions()
    output: SplitOutput = SplitOutput()

    def check_together(self, given: dict[str, Any]) -> None:
        """Refuse a split without input, output or times, and settings that this kind of split does not have."""
        check_input(self.input, "interactions to split")
        if not self.output.path:
            raise ConfigError("output.path is not set: name the folder that is to hold train and test")
        if self.split.timed and not self.input.timestamp:
            raise ConfigError(f"split.by = {self.split.by} needs input.timestamp: name the column of times")
        meant = {
            "time": ("moment", "share"),
            "last": ("n", "keep"),
            "random": ("share", "keep", "seed"),
            "users": ("share", "fold_in_share", "keep", "seed"),
        }[self.split.by]
        idle = [key for key in given.get("split", {}) if key != "by" and key not in meant]
        if idle:
            raise ConfigError(
                f"split.{idle[0]}: no meaning with split.by = {self.split.by}, which has {', '.join(meant)}"
            )
        if self.split.moment_seconds is not None and "share" in given["split"]:
            raise ConfigError("split.moment and split.share: each says where the test begins; give one of them")
