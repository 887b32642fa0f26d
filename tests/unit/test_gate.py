"""The gate: what a candidate must reach, and how often it errs on models whose difference is known."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.comparison import difference
from wals_spark.nights.gate import (
    Comparison,
    GateFigures,
    Sanity,
    SideSanity,
    decide,
    gate_document,
    is_new_anchor,
    read_gate_figures,
)
from wals_spark.settings.retrain import Gate

SIDE = SideSanity(rows=1000, zero_rows=0, not_finite=0, median_length=1.0)
SANE = Sanity(loss_per_observation=1.0, users=SIDE, items=SIDE)
SERVED = Comparison(version="s", value=0.30, difference=0.0, deviation=0.003)
FIGURES = GateFigures(
    metric="ndcg@20",
    users=2000,
    candidate=0.30,
    popularity=0.10,
    sanity=SANE,
    served_sanity=SANE,
    served=SERVED,
)
GATE = Gate()


def with_changes(**changes):
    return msgspec.structs.replace(FIGURES, **changes)


def compared(**changes):
    return msgspec.structs.replace(SERVED, **changes)


def test_a_model_that_is_as_good_passes():
    assert decide(FIGURES, GATE) == []


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (with_changes(candidate=0.27, served=compared(difference=-0.03)), "below what gate.relative = 0.05 allows"),
        (with_changes(served=compared(deviation=0.02)), "too few test users to tell, 2,000; about 46,"),
        (with_changes(candidate=0.09, served=None, served_sanity=None), "not above that of popularity, 0.1000"),
        (with_changes(users=60), "60 users in the test, below gate.min_users = 100"),
        (with_changes(anchor=compared(version="best", value=0.33, difference=-0.03)), "the best so far, best, 0.3300"),
        (with_changes(sanity=msgspec.structs.replace(SANE, loss_per_observation=9.0)), "the loss per observation is 9"),
        (
            with_changes(sanity=msgspec.structs.replace(SANE, items=msgspec.structs.replace(SIDE, zero_rows=900))),
            "90.0% of the rows of items are zero",
        ),
        (
            with_changes(sanity=msgspec.structs.replace(SANE, users=msgspec.structs.replace(SIDE, not_finite=1))),
            "1 rows of users are not finite",
        ),
        (
            with_changes(sanity=msgspec.structs.replace(SANE, users=msgspec.structs.replace(SIDE, median_length=0.1))),
            "the median length of rows of users is 0.1",
        ),
        (with_changes(candidate=float("nan"), served=None), "nan"),
    ],
)
def test_a_refusal_says_which_figure_and_which_limit(figures, words):
    reasons = decide(figures, GATE)
    assert words in "; ".join(reasons)


def test_an_absolute_limit():
    assert "below gate.absolute = 0.4" in decide(FIGURES, Gate(absolute=0.4))[0]


def test_the_first_model_is_compared_with_popularity_alone():
    first = with_changes(served=None, served_sanity=None)
    assert decide(first, GATE) == []
    assert is_new_anchor(first)
    assert decide(msgspec.structs.replace(first, popularity=0.31), Gate(popularity=False)) == []


def test_a_slow_decay_ends_at_the_best_so_far():
    best, served, nights = 0.30, 0.30, 0
    while True:
        now = 0.98 * served
        figures = with_changes(
            candidate=now,
            served=compared(value=served, difference=now - served),
            anchor=compared(version="best", value=best, difference=now - best) if served != best else None,
        )
        if decide(figures, GATE):
            break
        assert not is_new_anchor(figures)
        served, nights = now, nights + 1
    assert nights == 2
    assert served > 0.95 * best


def test_a_better_model_becomes_the_anchor():
    assert is_new_anchor(with_changes(anchor=compared(version="best", difference=0.001)))
    assert not is_new_anchor(with_changes(anchor=compared(version="best", difference=-0.001)))


def test_a_decision_is_made_again_from_what_was_written():
    document = gate_document(FIGURES, GATE, ["a reason"])
    assert read_gate_figures(document) == FIGURES
    assert (document["passed"], document["reasons"]) == (False, ["a reason"])


@dataclass
class Pairs:
    """Values per user of two models, whose means over all users there could be differ by a known share.

    Mean and deviation are NDCG@20's on ncf-ml-1m, each user's last tenth held out. Two seeds correlate with 0.99 there,
    a warm start and what it starts from with 0.997: to tell models apart that have less in common is harder.
    """

    users: int = 2000
    mean: float = 0.213
    deviation: float = 0.199
    correlation: float = 0.9

    def figures(self, seed: int, ratio: float) -> GateFigures:
        rng = np.random.default_rng(seed)
        common, *own = rng.normal(size=(3, self.users))
        share = np.sqrt([self.correlation, 1.0 - self.correlation])
        served, candidate = (self.mean + self.deviation * (share @ np.stack([common, noise])) for noise in own)
        keys = rng.integers(0, 2**63, size=self.users, dtype=np.uint64)
        candidate = candidate * ratio
        ones = np.ones((self.users, 1))
        sums = [MetricSums.of(values[:, None], ones, keys, 200).ratios[:, 0] for values in (candidate, served)]
        estimate = difference(*sums, level=0.6826894921370859)
        deviation = (estimate.high - estimate.low) / 2
        return with_changes(
            users=self.users,
            candidate=float(sums[0][0]),
            served=Comparison(version="s", value=float(sums[1][0]), difference=estimate.value, deviation=deviation),
        )


def refused(ratio):
    return sum(bool(decide(Pairs().figures(seed, ratio), GATE)) for seed in range(200)) / 200


def test_equal_models_are_refused_in_at_most_seven_percent():
    assert refused(1.0) <= 0.07


def test_models_five_percent_worse_pass_in_at_most_five_percent():
    assert 1.0 - refused(0.95) <= 0.05
