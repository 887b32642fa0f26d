"""Settings of the interactions that are held out of a training to evaluate it by."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.evaluation.metrics import RATING_METRICS, Measures
from wals_spark.objective.automatic import AUTO
from wals_spark.settings.evaluate import HeldOutInput, measure_of
from wals_spark.settings.tables import check_columns


class HeldOutOfTraining(HeldOutInput, frozen=True, kw_only=True):
    """Held-out interactions that training is evaluated by as it runs; what is not set here is as in input."""

    share: Annotated[
        float,
        Meta(
            description=(
                "Without a path: the share of input's pairs that is held out of training, by a hash of user and item; "
                "0: none."
            ),
            ge=0,
            lt=1,
        ),
    ] = 0.0
    metric: Annotated[
        str,
        Meta(
            description=(
                "recall, precision, ndcg, map, mrr or hit_rate, with @k; of predicted ratings (train.implicit = false) "
                "also rmse or mae; auto: ndcg@20, of ratings rmse."
            )
        ),
    ] = AUTO
    users: Annotated[
        int, Meta(description="The metric is of at most so many users, drawn by a hash of their ids.", ge=1, le=100_000)
    ] = 500
    seed: Annotated[int, Meta(description="Seed of the hashes by which pairs are held out and users are drawn.")] = 0

    @property
    def given(self) -> bool:
        """Whether there are held-out interactions, as far as settings tell."""
        return bool(self.path) or self.share > 0

    def metric_of(self, *, predicts_ratings: bool) -> str:
        """The metric, a name in place of ``auto``.

        Raises
        ------
        ConfigError
            If there is no such metric of such a model.
        """
        if self.metric == AUTO:
            return "rmse" if predicts_ratings else "ndcg@20"
        if self.metric not in RATING_METRICS:
            self.measures(self.metric)
        elif not predicts_ratings:
            raise ConfigError(
                f"held_out.metric = {self.metric}: of predicted ratings, which need train.implicit = false or "
                "train.target = rating; take a metric of ranks"
            )
        return self.metric

    @staticmethod
    def measures(metric: str) -> Measures:
        """A metric of ranks as `evaluation/metrics.py` takes it."""
        name, k = measure_of("held_out.metric", metric, without_k=False)
        return Measures((name,), (k or 1,), recall="test", average_precision="capped")

    def check(self) -> None:
        """Refuse two sources, and rows that are no hits to find."""
        check_columns(self, "held_out")
        if self.path and self.share:
            raise ConfigError("held_out.path and held_out.share: each says what is held out; give one of them")
        if self.nonpositive not in ("bad", "unobserved"):
            raise ConfigError(
                f"held_out.nonpositive = {self.nonpositive}: an item that a user dislikes is no hit; leave it out "
                "(unobserved)"
            )
