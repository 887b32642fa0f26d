"""Every setting of an export, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import StoredModel


class ExportOptions(Section, frozen=True, kw_only=True):
    """How items' vectors are written, and how well they are then found."""

    similarity: Annotated[
        Literal["cosine", "dot"],
        Meta(
            description=(
                "What the engine that reads the vectors ranks by: the cosine (they are then of unit length with one "
                "coordinate more, and in the model's order) or the dot product (vectors as they are)."
            )
        ),
    ] = "cosine"
    precision: Annotated[
        Literal["float32", "float16", "int8"],
        Meta(description="Of the vectors, and of those in the index; int8 has a scale for each row."),
    ] = "float32"
    index: Annotated[
        Literal["none", "hnsw"],
        Meta(description="hnsw: also an index of inner products for Faiss (the extra index), built on the driver."),
    ] = "none"
    neighbours: Annotated[int, Meta(description="HNSW's M: links of a vector.", ge=2, le=512)] = 32
    build_effort: Annotated[int, Meta(description="HNSW's efConstruction.", ge=1)] = 200
    search_effort: Annotated[
        int, Meta(description="HNSW's efSearch, kept in the file: more finds more, and takes longer.", ge=1)
    ] = 128
    k: Annotated[int, Meta(description="Recall is of the k best items of a user.", ge=1)] = 10
    sample: Annotated[int, Meta(description="Users that recall is measured on.", ge=1, le=100_000)] = 1000


class ExportOutput(Section, frozen=True, kw_only=True):
    """Where the files go."""

    path: Annotated[str, Meta(description="Folder or URL that is to hold the files; a new one.")] = ""


class ExportSettings(Settings, frozen=True, kw_only=True):
    """All settings of an export."""

    model: StoredModel = StoredModel()
    export: ExportOptions = ExportOptions()
    output: ExportOutput = ExportOutput()

    def check_together(self, given: dict[str, Any]) -> None:
        """Refuse a missing path, and settings of an index where there is none."""
        self.model.check()
        if not self.output.path:
            raise ConfigError("output.path is not set: name the folder that is to hold the exported files")
        if self.export.index == "none":
            for key in ("neighbours", "build_effort", "search_effort"):
                if key in given.get("export", {}):
                    raise ConfigError(f"export.{key} needs export.index = hnsw")
