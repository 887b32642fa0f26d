"""The objectives of other systems, in this project's settings: their weights, λ semantics and defaults.

Each is taken from the system's own source. A preset replaces the defaults of its settings: any setting that is given
wins over it, and none is left to the automatic values. Where a system draws its start factors from another
distribution, the preset has that distribution's scale. None of the systems over-relaxes, so no preset does: its
iterations are theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

# Unobserved pairs weigh 1, and confidence replaces that on observed ones (Hu, Koren and Volinsky 2008).
_HKV = {"unobserved_weight": 1.0, "unobserved_on": "missing", "relaxation": 1.0}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Hu, Koren and Volinsky 2008: c = 1 + αr, λ for all rows alike, α = 40 as in their experiments.
    "hkv": {
        "confidence": {"function": "linear", "alpha": 40.0},
        "train": {**_HKV, "rank": 64, "max_iter": 10, "reg_param": 1.0, "reg_scaling": "plain"},
    },
    # pyspark.ml.recommendation.ALS(implicitPrefs=True): c = 1 + α|r|, λ times the row's number of positive ratings.
    "mllib": {
        "confidence": {"function": "linear", "alpha": 1.0},
        "train": {
            **_HKV, "rank": 10, "max_iter": 10, "reg_param": 0.1, "reg_scaling": "count", "first_side": "items",
        },
    },
    # pyspark.ml.recommendation.ALS(): squared error of observed ratings, λ times the row's number of ratings.
    "mllib-explicit": {
        "train": {
            "implicit": False, "biases": False, "global_mean": False, "rank": 10, "max_iter": 10,
            "reg_param": 0.1, "reg_scaling": "count", "first_side": "items", "relaxation": 1.0,
        },
    },
    # implicit.als.AlternatingLeastSquares: c = αr, without the 1.
    "implicit": {
        "confidence": {"function": "linear", "alpha": 1.0, "base": 0.0},
        "train": {
            **_HKV, "rank": 100, "max_iter": 15, "reg_param": 0.01, "reg_scaling": "plain", "first_side": "users",
            "start": "positive", "start_scale": 0.06,
        },
    },
    # Rendle, Krichene, Zhang and Koren 2022 (google-research, ials): Σ_Ω (ŷ − 1)² + α₀ Σ_all ŷ² + λ (n + α₀N)^ν.
    "rendle": {
        "confidence": {"function": "constant", "alpha": 1.0},
        "train": {
            "rank": 16, "max_iter": 16, "unobserved_weight": 0.1, "unobserved_on": "all", "reg_param": 1e-4,
            "reg_scaling": "frequency", "reg_exponent": 1.0, "first_side": "users", "start_scale": 0.1,
            "relaxation": 1.0,
        },
    },
    # GoogleCloudPlatform/tensorflow-recommendation-wals with its default settings, on TensorFlow's WALS: the rating is
    # the target, an observation weighs ω₀ + 130/c_i, all others ω₀. Its other weighting: item_weight = power, alpha 1.
    "google-wals": {
        "confidence": {"function": "constant", "alpha": 130.0, "item_weight": "inverse"},
        "train": {
            **_HKV, "target": "rating", "rank": 5, "max_iter": 20, "unobserved_weight": 0.01, "reg_param": 0.07,
            "reg_scaling": "plain", "first_side": "users", "start_scale": 2.2,
        },
    },
    # Quora's qmf, wals: c = 1 + αr, plain λ.
    "qmf": {
        "confidence": {"function": "linear", "alpha": 40.0},
        "train": {
            **_HKV, "rank": 30, "max_iter": 10, "reg_param": 0.05, "reg_scaling": "plain", "first_side": "users",
            "start_scale": 0.03,
        },
    },
    # LensKit's ImplicitMFScorer with use_ratings off: every observation has confidence 1 + 40.
    "lenskit": {
        "confidence": {"function": "constant", "alpha": 40.0},
        "train": {
            **_HKV, "rank": 64, "max_iter": 10, "reg_param": 0.1, "reg_scaling": "plain", "first_side": "users",
            "start": "positive", "start_scale": 0.1,
        },
    },
}  # fmt: skip

# The type of the setting train.preset: a name above, or empty.
if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[("", *PRESETS)]
