"""Every setting of the job that recommends, with its default, its meaning and its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.objective.objective import Decay
from wals_spark.ranking.modes import MODES, Mode
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Ids, Input, StoredModel, check_input
from wals_spark.settings.train import Config


class Queries(Ids, frozen=True, kw_only=True):
    """Whom to serve: ids of users, or of items with what = users and similar-items; without a path all of the model."""


class Allowed(Ids, frozen=True, kw_only=True):
    """The only ids that may be recommended; without a path all of the model."""


class Blocked(Ids, frozen=True, kw_only=True):
    """Ids that must not be recommended."""


class Recommend(Section, frozen=True, kw_only=True):
    """What is recommended."""

    what: Annotated[
        Literal["items", "users", "similar-items", "similar-users"],
        Meta(
            description=(
                "Items for users, users for items, or what is most like an item or a user by the cosine of their "
                "factors, biases left out."
            )
        ),
    ] = "items"
    k: Annotated[int, Meta(description="How many for each.", ge=1)] = 10
    exclude_seen: Annotated[
        bool, Meta(description="Leave out pairs that input.path has; needs it. Of no effect on what is similar.")
    ] = True
    unknown: Annotated[
        Literal["drop", "popular"],
        Meta(
            description=(
                "Ids in whom.path that the model does not have are counted, and get nothing (drop) or, as users, the "
                "items with most users in input.path (popular)."
            )
        ),
    ] = "drop"
    because: Annotated[
        int,
        Meta(
            description=(
                "With items for users: so many items of the user's history that add most to each score (Hu et al. "
                "2008, section 5); 0: none."
            ),
            ge=0,
        ),
    ] = 0


class RecommendOutput(Section, frozen=True, kw_only=True):
    """Where the recommendations go."""

    path: Annotated[str, Meta(description="Folder or URL of the Parquet table; nothing may be there yet.")] = ""


class RecommendSettings(Settings, frozen=True, kw_only=True):
    """All settings of recommending."""

    model: StoredModel = StoredModel()
    recommend: Recommend = Recommend()
    input: Input = Input()
    whom: Queries = Queries()
    allowed: Allowed = Allowed()
    blocked: Blocked = Blocked()
    output: RecommendOutput = RecommendOutput()

    @property
    def mode(self) -> Mode:
        """What `recommend.what` means."""
        return MODES[self.recommend.what]

    @property
    def excludes_seen(self) -> bool:
        """Whether pairs of `input` are left out."""
        return self.recommend.exclude_seen and not self.mode.cosine

    @property
    def needs_interactions(self) -> bool:
        """Whether `input` is read."""
        chosen = self.recommend
        return self.excludes_seen or chosen.unknown == "popular" or bool(chosen.because)

    def interactions(self, trained: Config) -> Input:
        """The input, its rows read by the meaning that they had in training; pairs alone need no times."""
        if self.recommend.because:
            return trained.as_trained(self.input)
        return msgspec.structs.replace(self.input, nonpositive=trained.input.nonpositive, duplicates="sum")

    def decay(self, trained: Config) -> Decay | None:
        """How ratings fade, where ratings count."""
        return trained.decay() if self.recommend.because else None

    @property
    def id_tables(self) -> dict[str, Ids]:
        """The tables of ids that are given, by the names of their sections."""
        sections: dict[str, Ids] = {"whom": self.whom, "allowed": self.allowed, "blocked": self.blocked}
        return {name: table for name, table in sections.items() if table.path}

    def check_together(self, given: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse missing paths, and choices that have no meaning together."""
        self.model.check()
        if not self.output.path:
            raise ConfigError("output.path is not set: name the folder that the recommendations go to")
        chosen = self.recommend
        for setting, asked in (("because", bool(chosen.because)), ("unknown = popular", chosen.unknown == "popular")):
            if asked and chosen.what != "items":
                raise ConfigError(f"recommend.{setting} is for recommend.what = items, not {chosen.what}")
        if chosen.unknown == "popular" and not self.whom.path:
            raise ConfigError(
                "recommend.unknown = popular needs whom.path: without it only users of the model are served"
            )
        if self.needs_interactions and not self.input.path:
            raise ConfigError(
                "input.path is not set: name the interactions that the model was trained on, or set "
                "recommend.exclude_seen = false (recommend.unknown = popular and recommend.because need them too)"
            )
        if self.input.path:
            check_input(self.input, "interactions")
