"""Every setting of an evaluation, with its default, its meaning and its limits."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.evaluation.metrics import (
    METRICS,
    NEED_POPULARITY,
    RANK_METRICS,
    RATING_METRICS,
    Denominator,
    Measures,
)
from wals_spark.evaluation.user_batch import Protocol
from wals_spark.ranking.top_k import Ties
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Input, StoredModel, check_columns, require_path

NCF = "ncf"
_OF_PAIRS = (
    "format",
    "options",
    "user",
    "item",
    "bad_rows",
    "suspect_ids",
    "aliases",
)  # the settings of input that candidates inherit


def measure_of(setting: str, metric: str, *, without_k: bool = True) -> tuple[str, int | None]:
    """The name of a metric of ranks and its list length k, which the percentile rank does not have.

    Raises
    ------
    ConfigError
        If there is no such metric, or it has no k and none ``without_k`` is allowed; the message names those known.
    """
    names = [name for name in RANK_METRICS if without_k or name != "percentile_rank"]
    name, at, k = metric.partition("@")
    if name not in names or bool(at) == (name == "percentile_rank") or (at and not k.isdecimal()) or k == "0":
        known = ", ".join(name if name == "percentile_rank" else f"{name}@k" for name in names)
        raise ConfigError(f"{setting} = {metric}: there is no such metric; known, with k from 1: {known}")
    return name, int(k) if at else None


class Evaluate(Section, frozen=True, kw_only=True):
    """Which metrics are computed, and how users are evaluated."""

    k: Annotated[tuple[int, ...], Meta(description="List lengths that metrics are computed at.", min_length=1)] = (
        10,
        20,
    )
    metrics: Annotated[
        tuple[str, ...],
        Meta(
            description=(
                f"Any of {', '.join(METRICS)}; and, of a model of ratings, {' and '.join(RATING_METRICS)}. An empty "
                f"list: all (without input.path, all but {' and '.join(NEED_POPULARITY)})."
            )
        ),
    ] = ()
    recall: Annotated[
        Denominator,
        Meta(description="Hits are divided by the number n of held-out items (test), or by min(k, n) (capped)."),
    ] = "test"
    average_precision: Annotated[
        Denominator, Meta(description="The same for map: divided by n (test), or by min(k, n) (capped).")
    ] = "capped"
    ties: Annotated[
        Literal["auto", Ties],
        Meta(
            description=(
                "Which of two items with equal scores ranks first: the one of smaller id, as in recommendations "
                "(order), the one that is not held out (against), or the one that is (for); auto: order, but against "
                "with candidates, as is the custom."
            )
        ),
    ] = "auto"
    head_share: Annotated[
        float,
        Meta(
            description="The most popular items that hold this share of input's pairs are the head, others the tail.",
            gt=0,
            lt=1,
        ),
    ] = 0.8
    bootstrap: Annotated[
        int, Meta(description="Bootstrap replicates for the 95 % intervals; 0: no intervals.", ge=0, le=10_000)
    ] = 200
    seed: Annotated[int, Meta(description="Seed of the replicates.")] = 0

    def check(self) -> None:
        """Refuse list lengths below 1 and metrics that are unknown."""
        if min(self.k) < 1:
            raise ConfigError(f"evaluate.k = {min(self.k)}: a list has at least one item")
        for name in self.metrics:
            known = (*METRICS, *RATING_METRICS)
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                raise ConfigError(f"evaluate.metrics: there is no metric {name}; {hint}")

    def protocol(self, *, has_training: bool, sampled: bool) -> Protocol:
        """How users are evaluated.

        Parameters
        ----------
        has_training : bool
            There are training interactions, in which popularity is counted.
        sampled : bool
            Held-out items are ranked among candidates, not among the whole catalogue.

        Raises
        ------
        ConfigError
            If a metric needs training interactions, and there are none.
        """
        impossible = () if has_training else NEED_POPULARITY
        for name in self.metrics:
            if name in impossible:
                raise ConfigError(
                    f"evaluate.metrics: {name} needs the training interactions (input.path), to count popularity in"
                )
        names = self.rank_metrics or tuple(name for name in METRICS if name not in impossible)
        measures = Measures(names, tuple(sorted(set(self.k))), self.recall, self.average_precision)
        return Protocol(measures, self.tie_rule(sampled=sampled), self.bootstrap, sampled=sampled)

    @property
    def rank_metrics(self) -> tuple[str, ...]:
        """The metrics of ranks that are asked for."""
        return tuple(name for name in self.metrics if name not in RATING_METRICS)

    def rating_metrics(self, *, predicts_ratings: bool) -> tuple[str, ...]:
        """The metrics of predicted ratings that are asked for.

        Raises
        ------
        ConfigError
            If the model does not predict ratings.
        """
        names = tuple(name for name in self.metrics if name in RATING_METRICS)
        if names and not predicts_ratings:
            raise ConfigError(
                f"evaluate.metrics: {', '.join(names)} is of predicted ratings, and the model predicts preferences "
                "(train.implicit = true): ask for metrics of ranks"
            )
        return RATING_METRICS if predicts_ratings and not self.metrics else names

    def tie_rule(self, *, sampled: bool) -> Ties:
        """Which of two items with equal scores ranks first."""
        if self.ties != "auto":
            return self.ties
        return "against" if sampled else "order"

    def facts(self, *, sampled: bool) -> dict[str, Any]:
        """How users were evaluated, for metrics.json."""
        return {
            "recall": self.recall,
            "average_precision": self.average_precision,
            "ties": self.tie_rule(sampled=sampled),
            "head_share": self.head_share,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
        }


class HeldOutInput(Input, frozen=True, kw_only=True):
    """The held-out interactions to evaluate with; what is not set here is as in input, but for the path."""


class CandidatesInput(Input, frozen=True, kw_only=True):
    """Pairs of a user and a sampled item, to rank held-out items among; without a path, all items of the model."""

    format: Annotated[
        str,
        Meta(
            description=(
                f"As input.format; or {NCF}: lines of (user,held-out item), a tab, and items with tabs between, as "
                "test.negative of neural collaborative filtering has them."
            ),
            min_length=1,
        ),
    ] = "parquet"
    rating: Annotated[str, Meta(description="Not used.")] = ""


class AgainstModel(StoredModel, frozen=True, kw_only=True):
    """Another model to compare with, on the users that both models know; without a path and a version, none."""

    path: Annotated[str, Meta(description="Folder or URL of all of its versions; empty: model.path.")] = ""


class EvaluateOutput(Section, frozen=True, kw_only=True):
    """Where the results go."""

    path: Annotated[
        str, Meta(description="Folder or URL for metrics.json; empty: the folder of the model version.")
    ] = ""


class EvaluateSettings(Settings, frozen=True, kw_only=True):
    """All settings of an evaluation."""

    model: StoredModel = StoredModel()
    against: AgainstModel = AgainstModel()
    input: Input = Input()
    test: HeldOutInput = HeldOutInput()
    candidates: CandidatesInput = CandidatesInput()
    evaluate: Evaluate = Evaluate()
    output: EvaluateOutput = EvaluateOutput()

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values, and those that test and candidates inherit from input."""
        sections = {name: values.get(name, {}) for name in ("input", "test", "candidates")}
        if not all(isinstance(section, dict) for section in sections.values()):
            return values
        inherited = {key: value for key, value in sections["input"].items() if key != "path"}
        of_pairs = {key: inherited[key] for key in _OF_PAIRS if key in inherited}
        return {
            **values,
            "test": {**inherited, **sections["test"]},
            "candidates": {**of_pairs, **sections["candidates"]},
        }

    @property
    def sampled(self) -> bool:
        """Whether held-out items are ranked among candidates, not among the whole catalogue."""
        return bool(self.candidates.path)

    @property
    def protocol(self) -> Protocol:
        """How users are evaluated."""
        return self.evaluate.protocol(has_training=bool(self.input.path), sampled=self.sampled)

    @property
    def facts(self) -> dict[str, Any]:
        """How users were evaluated, and on what, for metrics.json."""
        shown = self.shown()
        return {
            "protocol": "sampled" if self.sampled else "full",
            "test": shown["test"]["path"],
            "training": shown["input"]["path"],
            "candidates": shown["candidates"]["path"],
            **self.evaluate.facts(sampled=self.sampled),
        }

    def check_together(self, set_values: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse metrics that are unknown, and tables whose columns contradict each other."""
        self.evaluate.check()
        check_columns(self.test, "test")
        for section, table in (("input", self.input), ("candidates", self.candidates)):
            if table.path:
                check_columns(table, section)
        if self.test.nonpositive not in ("bad", "unobserved"):
            raise ConfigError(
                f"test.nonpositive = {self.test.nonpositive}: an item that a user dislikes is no hit; leave it out "
                "of the test (unobserved)"
            )

    def require_paths(self) -> None:
        """Refuse an evaluation without model or test, and metrics that need training interactions without them."""
        self.model.require_path()
        require_path(self.test.path, "test.path", "interactions to test with")
        _ = self.protocol
