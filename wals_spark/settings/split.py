"""Every setting of a split, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Input, check_columns, moment_in_seconds, require_path


class SplitOptions(Section, frozen=True, kw_only=True):
    """Which interactions are for the test."""

    by: Annotated[
        Literal["time", "last", "random", "users"],
        Meta(
            description=(
                "time: all interactions from a moment on; last: each user's last pairs; random: a random share of each "
                "user's pairs; users: a random share of the users is held out, and their pairs are split into a part "
                "to fold in and a part to test (strong generalisation)."
            )
        ),
    ] = "last"
    moment: Annotated[
        str,
        Meta(description="by = time: when the test begins, as 2026-01-31T00:00:00Z; empty: as share says."),
    ] = ""
    share: Annotated[
        float,
        Meta(
            description=(
                "The share that is for the test: by = time: at most this share of the rows; random: of each user's "
                "pairs; users: of the users."
            ),
            gt=0,
            lt=1,
        ),
    ] = 0.2
    n: Annotated[int, Meta(description="by = last: pairs per user.", ge=1)] = 1
    fold_in_share: Annotated[
        float, Meta(description="by = users: the share of a held-out user's pairs to fold in.", gt=0, lt=1)
    ] = 0.8
    keep: Annotated[
        int,
        Meta(
            description="by = last, random, users: the least number of pairs per user for training, or to fold in.",
            ge=0,
        ),
    ] = 1
    seed: Annotated[int, Meta(description="by = random, users: seed of the random choice.")] = 0

    @property
    def timed(self) -> bool:
        """Whether the split needs the time of each row."""
        return self.by in ("time", "last")

    @property
    def moment_seconds(self) -> float | None:
        """The moment in seconds since 1970, or None if the share decides."""
        return moment_in_seconds(self.moment, "split.moment") if self.moment else None


class SplitOutput(Section, frozen=True, kw_only=True):
    """Where the parts go."""

    path: Annotated[str, Meta(description="Folder or URL for train, test and fold_in; it must not exist yet.")] = ""


class SplitSettings(Settings, frozen=True, kw_only=True):
    """All settings of a split."""

    input: Input = Input()
    split: SplitOptions = SplitOptions()
    output: SplitOutput = SplitOutput()

    def check_together(self, set_values: dict[str, Any]) -> None:
        """Refuse a split without the times it needs, and settings that this kind of split does not have."""
        split, usual = self.split, SplitOptions()
        check_columns(self.input)
        if split.timed and not self.input.timestamp:
            raise ConfigError(f"split.by = {split.by} needs input.timestamp: name the column of times")
        options = _OPTIONS[split.by]
        changed = [key for key in set_values.get("split", {}) if getattr(split, key) != getattr(usual, key)]
        idle = [key for key in changed if key not in ("by", *options)]
        if idle:
            raise ConfigError(f"split.{idle[0]}: no meaning with split.by = {split.by}, which has {', '.join(options)}")
        if split.moment_seconds is not None and "share" in changed:
            raise ConfigError("split.moment and split.share: each says where the test begins; give one of them")

    def require_paths(self) -> None:
        """Refuse a split without input or output."""
        require_path(self.input.path, "input.path", "interactions to split")
        require_path(self.output.path, "output.path", "folder that is to hold train and test")


_OPTIONS = {
    "time": ("moment", "share"),
    "last": ("n", "keep"),
    "random": ("share", "keep", "seed"),
    "users": ("share", "fold_in_share", "keep", "seed"),
}
"""The settings that each kind of split has."""
