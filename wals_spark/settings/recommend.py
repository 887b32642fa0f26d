"""Every setting of the job that recommends, with its default, its meaning and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.objective.objective import Decay
from wals_spark.ranking.modes import MODES, Mode, ModeName
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Ids, Input, StoredModel, check_columns, require_path
from wals_spark.settings.train import Config


class Queries(Ids, frozen=True, kw_only=True):
    """Ids to recommend for: users, or items with mode = users and similar-items; without a path all of the model."""


class Allowed(Ids, frozen=True, kw_only=True):
    """The only ids that may be recommended; without a path all of the model."""


class Blocked(Ids, frozen=True, kw_only=True):
    """Ids that must not be recommended."""


class Recommend(Section, frozen=True, kw_only=True):
    """What is recommended."""

    mode: Annotated[
        ModeName,
        Meta(
            description=(
                "Items for users (items), users for items (users), or the items or users that are most similar, by "
                "the cosine of their factors without biases, to an item or a user (similar-items, similar-users)."
            )
        ),
    ] = "items"
    k: Annotated[int, Meta(description="Recommendations per query.", ge=1)] = 10
    exclude_seen: Annotated[
        bool,
        Meta(description="Leave out pairs that input.path has; needs it. Of no effect on similar items and users."),
    ] = True
    cold_start: Annotated[
        Literal["drop", "popular"],
        Meta(
            description=(
                "Ids in queries.path that the model does not have are counted, and get no recommendations (drop) or, "
                "if they are users, the items with most users in input.path (popular)."
            )
        ),
    ] = "drop"
    because: Annotated[
        int,
        Meta(
            description=(
                "With items for users: how many items of the user's history to name, those that contribute most to "
                "the score (Hu et al. 2008, section 5); 0: none."
            ),
            ge=0,
        ),
    ] = 0

    def check(self) -> None:
        """Refuse options that the mode does not have."""
        popular = self.cold_start == "popular"
        for option, is_set in (("because", bool(self.because)), ("cold_start = popular", popular)):
            if is_set and self.mode != "items":
                raise ConfigError(f"recommend.{option} is for recommend.mode = items, not {self.mode}")


class RecommendOutput(Section, frozen=True, kw_only=True):
    """Where the recommendations go."""

    path: Annotated[str, Meta(description="Folder or URL of the Parquet table; it must not exist yet.")] = ""


class RecommendSettings(Settings, frozen=True, kw_only=True):
    """All settings of recommending."""

    renamed: ClassVar[Mapping[str, str]] = {
        "whom": "queries",
        "recommend.what": "recommend.mode",
        "recommend.unknown": "recommend.cold_start",
    }

    model: StoredModel = StoredModel()
    recommend: Recommend = Recommend()
    input: Input = Input()
    queries: Queries = Queries()
    allowed: Allowed = Allowed()
    blocked: Blocked = Blocked()
    output: RecommendOutput = RecommendOutput()

    @property
    def mode(self) -> Mode:
        """What is recommended for what."""
        return MODES[self.recommend.mode]

    @property
    def excludes_seen(self) -> bool:
        """Whether pairs of `input` are left out."""
        return self.recommend.exclude_seen and not self.mode.cosine

    @property
    def needs_interactions(self) -> bool:
        """Whether `input` is read."""
        options = self.recommend
        return self.excludes_seen or options.cold_start == "popular" or bool(options.because)

    def interactions(self, trained: Config) -> Input:
        """The input, its rows read with the meaning that they had in training; pairs alone need no times."""
        if self.recommend.because:
            return trained.as_trained(self.input)
        return msgspec.structs.replace(self.input, nonpositive=trained.input.nonpositive, duplicates="sum")

    def decay(self, trained: Config) -> Decay | None:
        """How ratings decay, where ratings count."""
        return trained.decay() if self.recommend.because else None

    @property
    def id_tables(self) -> dict[str, Ids]:
        """The tables of ids that have a path, by the names of their sections."""
        sections: dict[str, Ids] = {"queries": self.queries, "allowed": self.allowed, "blocked": self.blocked}
        return {name: table for name, table in sections.items() if table.path}

    def check_together(self, set_values: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse options that have no meaning together."""
        self.recommend.check()
        if self.input.path:
            check_columns(self.input)

    def require_paths(self) -> None:
        """Refuse a job without model or output, or without the tables that its options need."""
        self.model.require_path()
        require_path(self.output.path, "output.path", "folder that the recommendations go to")
        if self.recommend.cold_start == "popular" and not self.queries.path:
            raise ConfigError(
                "recommend.cold_start = popular needs queries.path: without it there are only users of the model"
            )
        if self.needs_interactions and not self.input.path:
            raise ConfigError(
                "input.path is not set: name the interactions that the model was trained on, or set "
                "recommend.exclude_seen = false (recommend.cold_start = popular and recommend.because need them too)"
            )
