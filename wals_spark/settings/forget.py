"""Every setting of the job that erases ids from a model, with its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.run import Checkpoint, Lease
from wals_spark.settings.tables import Ids, StoredModel, require_path


class Erased(Ids, frozen=True, kw_only=True):
    """The ids to erase. Take them out of the interactions first, or the next training has them again."""


class ForgetOptions(Section, frozen=True, kw_only=True):
    """What is erased."""

    of: Annotated[Literal["user", "item"], Meta(description="Whose ids.")] = "user"
    why: Annotated[str, Meta(description="The reason, for the history; it must not name the ids.")] = ""


class ForgetSettings(Settings, frozen=True, kw_only=True):
    """All settings of erasing."""

    model: StoredModel = StoredModel()
    ids: Erased = Erased()
    forget: ForgetOptions = ForgetOptions()
    checkpoint: Checkpoint = Checkpoint()
    lease: Lease = Lease()

    def require_paths(self) -> None:
        """Refuse a job without a model or without ids."""
        self.model.require_path()
        require_path(self.ids.path, "ids.path", "table of ids to erase")
