"""Every setting of the job that says how a model fares, with its default and its meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import StoredModel


class StatusOptions(Section, frozen=True, kw_only=True):
    """What is printed."""

    nights: Annotated[int, Meta(description="How many of the last runs.", ge=1)] = 14
    format: Annotated[
        Literal["text", "prometheus"],
        Meta(description="For people, or as the text format of Prometheus, such as for the node exporter's textfile."),
    ] = "text"


class StatusSettings(Settings, frozen=True, kw_only=True):
    """All settings of the status."""

    model: StoredModel = StoredModel()
    status: StatusOptions = StatusOptions()

    def require_paths(self) -> None:
        """Refuse a job without a model."""
        self.model.require_path()
