"""Every setting of an export, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import StoredModel, require_path

Precision = Literal["float32", "float16", "int8"]


class ExportOptions(Section, frozen=True, kw_only=True):
    """How the vectors of items are written, and how the recall of a search among them is measured."""

    similarity: Annotated[
        Literal["cosine", "dot"],
        Meta(
            description=(
                "What the engine that reads the vectors ranks by: the cosine (vectors then have unit length and one "
                "more coordinate, and rank as the model does) or the dot product (vectors as they are)."
            )
        ),
    ] = "cosine"
    precision: Annotated[
        Precision,
        Meta(description="Numbers of the vectors, and of those in the index; int8 has a scale per row."),
    ] = "float32"
    index: Annotated[
        Literal["none", "hnsw"],
        Meta(
            description="hnsw: also an index of inner products for Faiss (needs the extra index), built on the driver."
        ),
    ] = "none"
    neighbours: Annotated[int, Meta(description="HNSW's M: links per vector.", ge=2, le=512)] = 32
    build_effort: Annotated[int, Meta(description="HNSW's efConstruction.", ge=1)] = 200
    search_effort: Annotated[
        int, Meta(description="HNSW's efSearch, kept in the file: higher has more recall and takes longer.", ge=1)
    ] = 128
    k: Annotated[int, Meta(description="Recall is measured on the k best items per user.", ge=1)] = 10
    sample: Annotated[int, Meta(description="Users that recall is measured on.", ge=1, le=100_000)] = 1000


class ExportOutput(Section, frozen=True, kw_only=True):
    """Where the files go."""

    path: Annotated[str, Meta(description="Folder or URL for the files; it must not exist yet.")] = ""


class ExportSettings(Settings, frozen=True, kw_only=True):
    """All settings of an export."""

    model: StoredModel = StoredModel()
    export: ExportOptions = ExportOptions()
    output: ExportOutput = ExportOutput()

    def check_together(self, set_values: dict[str, Any]) -> None:
        """Refuse settings of an index where there is none."""
        usual = ExportOptions()
        for key in ("neighbours", "build_effort", "search_effort"):
            changed = key in set_values.get("export", {}) and getattr(self.export, key) != getattr(usual, key)
            if changed and self.export.index == "none":
                raise ConfigError(f"export.{key} needs export.index = hnsw")

    def require_paths(self) -> None:
        """Refuse an export without model or output."""
        self.model.require_path()
        require_path(self.output.path, "output.path", "folder that is to hold the exported files")
