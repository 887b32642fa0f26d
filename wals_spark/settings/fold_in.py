"""Every setting of the job that folds users in, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Input, NewVersion, Publish, StoredModel, check_input


class FoldInOptions(Section, frozen=True, kw_only=True):
    """Which users the new version has."""

    keep_users: Annotated[
        bool,
        Meta(description="Users of the old version who have no row in the input stay as they are; else they go."),
    ] = False


class FoldInOutput(Section, frozen=True, kw_only=True):
    """The new version of the model, beside the old one."""

    version: NewVersion = ""
    publish: Publish = True


class FoldInSettings(Settings, frozen=True, kw_only=True):
    """All settings of a fold-in of many users."""

    model: StoredModel = StoredModel()
    input: Input = Input()
    fold_in: FoldInOptions = FoldInOptions()
    output: FoldInOutput = FoldInOutput()

    def check_together(self, given: dict[str, Any]) -> None:
        """Refuse a missing path, and settings that are the model's."""
        self.model.check()
        taken = [f"input.{key}" for key in ("duplicates", "nonpositive") if key in given.get("input", {})]
        if taken:
            raise ConfigError(f"{', '.join(taken)}: the model was trained with its own, which folding in keeps")
        check_input(self.input, "interactions to fold in")
