"""Settings of the interactions that are held out of a training to evaluate it by."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.evaluation.metrics import Measures
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
        str, Meta(description="recall, precision, ndcg, map, mrr or hit_rate, with @k: the mean over users.")
    ] = "ndcg@20"
    users: Annotated[
        int, Meta(description="The metric is of at most so many users, drawn by a hash of their ids.", ge=1, le=100_000)
    ] = 500
    seed: Annotated[int, Meta(description="Seed of the hashes by which pairs are held out and users are drawn.")] = 0

    @property
    def given(self) -> bool:
        """Whether there are held-out interactions, as far as settings tell."""
        return bool(self.path) or self.share > 0

    @property
    def measures(self) -> Measures:
        """The metric as `evaluation/metrics.py` takes it."""
        name, k = measure_of("held_out.metric", self.metric, without_k=False)
        return Measures((name,), (k or 1,), recall="test", average_precision="capped")

    def check(self) -> None:
        """Refuse an unknown metric, two sources, and rows that are no hits to find."""
        _ = self.measures
        check_columns(self, "held_out")
        if self.path and self.share:
            raise ConfigError("held_out.path and held_out.share: each says what is held out; give one of them")
        if self.nonpositive not in ("bad", "unobserved"):
            raise ConfigError(
                f"held_out.nonpositive = {self.nonpositive}: an item that a user dislikes is no hit; leave it out "
                "(unobserved)"
            )
