"""Every setting of an evaluation, with its default, its meaning and its limits."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.evaluation.metrics import METRICS, NEED_POPULARITY, Measures
from wals_spark.evaluation.user_batch import Protocol
from wals_spark.ranking.top_k import Ties
from wals_spark.settings.loader import Section, Settings
from wals_spark.settings.tables import Input, StoredModel, check_input

_OF_PAIRS = ("format", "options", "user", "item", "bad_rows")  # what candidates are read by


class Evaluate(Section, frozen=True, kw_only=True):
    """What is measured, and how users are judged."""

    k: Annotated[tuple[int, ...], Meta(description="Lengths of list that metrics are taken at.", min_length=1)] = (
        10,
        20,
    )
    metrics: Annotated[
        tuple[str, ...],
        Meta(description=f"Any of {', '.join(METRICS)}; none: all (without input.path, all that need no popularity)."),
    ] = ()
    recall: Annotated[
        Literal["test", "capped"],
        Meta(description="Hits are divided by the number n of test items (test), or by min(k, n) (capped)."),
    ] = "test"
    average_precision: Annotated[
        Literal["test", "capped"], Meta(description="The same for map: min(k, n) (capped), or n (test).")
    ] = "capped"
    ties: Annotated[
        Literal["auto", "order", "against", "for"],
        Meta(
            description=(
                "Of equal scores, the smaller id comes first, as in recommendations (order), or all but the test items "
                "(against), or these (for); auto: order, but against with candidates, as is the custom."
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
        int, Meta(description="Replicates that the 95 % interval is made from; 0: no interval.", ge=0, le=10_000)
    ] = 200
    seed: Annotated[int, Meta(description="Seed of the replicates.")] = 0


class EvaluateOutput(Section, frozen=True, kw_only=True):
    """Where the results go."""

    path: Annotated[str, Meta(description="Folder or URL for metrics.json; empty: the model version's own folder.")] = (
        ""
    )


class EvaluateSettings(Settings, frozen=True, kw_only=True):
    """All settings of an evaluation."""

    model: StoredModel = StoredModel()
    input: Input = Input()
    test: Input = Input()
    candidates: Input = Input(rating="")
    evaluate: Evaluate = Evaluate()
    output: EvaluateOutput = EvaluateOutput()

    @classmethod
    def completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What test and candidates do not say is as input has it, and lists may be text with commas."""
        sections = {name: given.get(name, {}) for name in ("input", "test", "candidates", "evaluate")}
        if not all(isinstance(section, dict) for section in sections.values()):
            return given
        inherited = {key: value for key, value in sections["input"].items() if key != "path"}
        of_pairs = {key: inherited[key] for key in _OF_PAIRS if key in inherited}
        lists = {
            key: [part.strip() for part in value.strip("[]").split(",") if part.strip()]
            for key, value in sections["evaluate"].items()
            if key in ("k", "metrics") and isinstance(value, str)
        }
        return {
            **given,
            "test": {**inherited, **sections["test"]},
            "candidates": {"rating": "", **of_pairs, **sections["candidates"]},
            "evaluate": {**sections["evaluate"], **lists},
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that are asked for."""
        possible = [name for name in METRICS if self.input.path or name not in NEED_POPULARITY]
        return self.evaluate.metrics or tuple(possible)

    @property
    def protocol(self) -> Protocol:
        """How users are judged."""
        chosen = self.evaluate
        measures = Measures(self.metrics, tuple(sorted(set(chosen.k))), chosen.recall, chosen.average_precision)
        return Protocol(measures, self.ties, chosen.bootstrap, sampled=bool(self.candidates.path))

    @property
    def ties(self) -> Ties:
        """Which of equal scores come first."""
        if self.evaluate.ties != "auto":
            return self.evaluate.ties
        return "against" if self.candidates.path else "order"

    @property
    def facts(self) -> dict[str, Any]:
        """How users were judged, and on what, for metrics.json."""
        return {
            "protocol": "sampled" if self.candidates.path else "full",
            "test": self.test.path,
            "training": self.input.path,
            "candidates": self.candidates.path,
            "recall": self.evaluate.recall,
            "average_precision": self.evaluate.average_precision,
            "ties": self.ties,
            "head_share": self.evaluate.head_share,
            "bootstrap": self.evaluate.bootstrap,
            "seed": self.evaluate.seed,
        }

    def check_together(self, given: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse an evaluation without model or test, and metrics that are unknown or cannot be had."""
        self.model.check()
        check_input(self.test, "interactions to test with", section="test")
        for section, table in (("input", self.input), ("candidates", self.candidates)):
            if table.path:
                check_input(table, "", section=section)
        if self.test.nonpositive not in ("bad", "unobserved"):
            raise ConfigError(
                f"test.nonpositive = {self.test.nonpositive}: what a user dislikes is nothing to find; leave it out "
                "of the test (unobserved)"
            )
        for name in self.evaluate.metrics:
            if name not in METRICS:
                near = difflib.get_close_matches(name, METRICS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(METRICS)}"
                raise ConfigError(f"evaluate.metrics: there is no metric {name}; {hint}")
            if name in NEED_POPULARITY and not self.input.path:
                raise ConfigError(f"evaluate.metrics: {name} needs input.path, which popularity is counted in")
        if min(self.evaluate.k) < 1:
            raise ConfigError(f"evaluate.k = {min(self.evaluate.k)}: a list has at least one item")
