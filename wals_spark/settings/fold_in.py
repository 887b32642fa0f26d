"""Every setting of the job that folds users in, with its default, its meaning and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Input, NewVersion, Publish, StoredModel, check_columns, require_path


class FoldInOptions(Section, frozen=True, kw_only=True):
    """Which users the new version has."""

    keep_users: Annotated[
        bool,
        Meta(description="Keep the users of the old version who have no row in the input, as they are."),
    ] = False


class FoldInOutput(Section, frozen=True, kw_only=True):
    """The new version of the model, beside the old one."""

    version: NewVersion = ""
    publish: Publish = True


class FoldInSettings(Settings, frozen=True, kw_only=True):
    """All settings of a batch fold-in."""

    unused: ClassVar[Mapping[str, str]] = {
        f"input.{key}": "the model was trained with its own, which folding in keeps"
        for key in ("duplicates", "nonpositive")
    }

    model: StoredModel = StoredModel()
    input: Input = Input()
    fold_in: FoldInOptions = FoldInOptions()
    output: FoldInOutput = FoldInOutput()

    def check_together(self, set_values: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse columns that contradict each other."""
        check_columns(self.input)

    def require_paths(self) -> None:
        """Refuse a fold-in without model or input."""
        self.model.require_path()
        require_path(self.input.path, "input.path", "interactions to fold in")
