"""Every setting of the job that erases ids from a model, with its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wals_spark.settings.loader import Settings
from wals_spark.settings.run import Checkpoint, Lease
from wals_spark.settings.tables import Ids, StoredModel, require_path


class Forget(Ids, frozen=True, kw_only=True):
    """The ids to erase. Take them out of the interactions first, or the next training has them again."""

    of: Annotated[Literal["item", "user"], Meta(description="Whose ids.")] = "user"
    why: Annotated[str, Meta(description="The reason, for the history; it must not name the ids.")] = ""


class ForgetSettings(Settings, frozen=True, kw_only=True):
    """All settings of erasing."""

    model: StoredModel = StoredModel()
    forget: Forget = Forget()
    checkpoint: Checkpoint = Checkpoint()
    lease: Lease = Lease()

    def require_paths(self) -> None:
        """Refuse a job without a model or without ids."""
        self.model.require_path()
        require_path(self.forget.path, "forget.path", "table of ids to erase")
