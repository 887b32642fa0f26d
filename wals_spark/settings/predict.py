"""Every setting of the job that predicts, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import StoredModel, Table, require_path

Unknown = Literal["nan", "drop"]


class Pairs(Table, frozen=True, kw_only=True):
    """Pairs to predict; their other columns are kept."""

    user: Annotated[str, Meta(description="Column of user ids.", min_length=1)] = "user"
    item: Annotated[str, Meta(description="Column of item ids.", min_length=1)] = "item"

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The names of the columns that hold ids."""
        return (self.user, self.item)


class Predict(Section, frozen=True, kw_only=True):
    """What is predicted."""

    unknown: Annotated[
        Unknown,
        Meta(
            description=(
                "A pair whose user or item the model does not have gets NaN (nan), or is left out (drop), as MLlib's "
                "coldStartStrategy has it."
            )
        ),
    ] = "nan"


class PredictOutput(Section, frozen=True, kw_only=True):
    """Where the predictions go."""

    path: Annotated[str, Meta(description="Folder or URL of the Parquet table; it must not exist yet.")] = ""


class PredictSettings(Settings, frozen=True, kw_only=True):
    """All settings of a prediction."""

    model: StoredModel = StoredModel()
    pairs: Pairs = Pairs()
    predict: Predict = Predict()
    output: PredictOutput = PredictOutput()

    def check_together(self, set_values: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse one column for both ids."""
        if self.pairs.user == self.pairs.item:
            raise ConfigError(f"pairs: one column is named twice: {self.pairs.user}")

    def require_paths(self) -> None:
        """Refuse a prediction without model, pairs or output."""
        self.model.require_path()
        require_path(self.pairs.path, "pairs.path", "pairs to predict")
        require_path(self.output.path, "output.path", "folder that the predictions go to")
