from __future__ import annotations

import numpy as np
import pytest
from objectives import counts_of_data, objectives_of, resolved_of

from wals_spark.arrays.histogram import Histogram
from wals_spark.run.objective_summary import describe_objective, describe_weights
from wals_spark.settings.train import load_config

_MISSING = ["train.unobserved_weight=1", "train.unobserved_on=missing"]
PATHS = ["input.path=in", "output.path=out"]


@pytest.mark.parametrize(
    ("settings", "first", "second"),
    [
        (
            ["train.preset=rendle"],
            "objective (preset rendle): weight of a rating r: 1; target 1; weight of unobserved pairs 0.1, "
            "which observed pairs have too",
            "penalty per row: 0.0001 (n + 0.1 N)^1, n its number of observations and N the rows of the other side",
        ),
        (
            ["train.preset=google-wals", "train.item_reg_param=2"],
            "objective (preset google-wals): weight of a rating r: 0.01 + 130 / c_i; target r; weight of unobserved "
            "pairs 0.01, which observed pairs do not have",
            "penalty per row: 0.07 (users), 2 (items)",
        ),
        (
            [
                "train.implicit=false",
                "train.biases=true",
                "train.global_mean=true",
                "input.weight=w",
                "train.reg_param=1",
            ],
            "objective: weight of a rating r: 1 * weight; target r - mean; unobserved pairs do not count",
            "penalty per row: 1 (n + 0 N)^1, n its number of observations and N the rows of the other side, "
            "biases included",
        ),
        (
            [
                *_MISSING,
                "input.nonpositive=impression",
                "confidence.impression_weight=4",
                "confidence.item_weight=propensity",
                "confidence.alpha=10",
                "confidence.epsilon=1",
            ],
            "objective: weight of a rating r: 1 + 10 ln(1 + r/1) / max(0.01, (c_i/c_max)^0.5); target 1; weight of "
            "unobserved pairs 1, which observed pairs do not have",
            "impressions (r <= 0): weight 5, target 0",
        ),
    ],
)
def test_the_objective_is_described_in_words(settings, first, second):
    config = resolved_of(load_config(None, [*PATHS, *settings]))
    assert describe_objective(config, counts_of_data())[:2] == [first, second]


def test_weights_have_quantiles_and_settings_of_other_systems():
    config = load_config(None, [*PATHS, "train.preset=hkv", "confidence.alpha=10", "train.reg_param=4"])
    weights = Histogram.of(1 + 10 * np.array([1.0, 2.0, 4.0]), np.array([2, 1, 1]))
    lines = describe_weights(weights, objectives_of(config, users=2, items=4), mean_rating=2.0)
    assert lines[0].startswith("weights of 4 observations: min 11, 1% 1")
    assert lines[0].endswith("max 41, mean 21")
    reg_params = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[2:]}
    assert reg_params["hkv"] == "alpha 10, reg_param 4"
    assert reg_params["mllib"] == "alpha 10, reg_param 2 (users), 4 (items)"
    assert reg_params["implicit"] == "alpha 10.5, reg_param 4"
    assert reg_params["lenskit"] == "alpha 20, reg_param 4"
    assert reg_params["rendle"] == "unobserved_weight 0.05, reg_param 0.08658 (users), 0.1732 (items)"
