"""What the settings came to on this data: the objective in words, its weights, and the same in other systems' terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wals_spark.arrays.histogram import Histogram
from wals_spark.objective.objective import Objective
from wals_spark.settings.train import Config

_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
_FORMULA = {
    "constant": "{alpha:g}",
    "linear": "{alpha:g} r",
    "log": "{alpha:g} ln(1 + r/{epsilon:g})",
    "sqrt": "{alpha:g} sqrt(r)",
}
_MULTIPLIER = {
    "none": "",
    "count": " * c_i",
    "inverse": " / c_i",
    "power": " / c_i^{exponent:g}",
    "propensity": " / max({floor:g}, (c_i/c_max)^{exponent:g})",
}
_DIAGONAL = {
    "plain": "{reg_param:g}",
    "count": "{reg_param:g} n",
    "frequency": "{reg_param:g} (n + {unobserved_weight:g} N)^{reg_exponent:g}",
}


@dataclass(frozen=True)
class Equivalent:
    """An objective in the words of another system: its own names of the weight, and λ for users and for items."""

    preset: str
    weights: dict[str, float]
    user_reg_param: float
    item_reg_param: float

    def settings(self) -> list[str]:
        """As `section.key=value`, on top of the preset."""
        weights = [f"{key}={value!r}" for key, value in self.weights.items()]
        return [
            f"train.preset={self.preset}",
            *weights,
            f"train.user_reg_param={self.user_reg_param!r}",
            f"train.item_reg_param={self.item_reg_param!r}",
        ]


def describe_objective(config: Config) -> list[str]:
    """What a preset and the settings on top of it resolved to, a few lines."""
    chosen = config.objectives(users=0, items=0)
    common = chosen["users"]
    confidence, item_weight = common.confidence, common.item_weight
    above = _FORMULA[confidence.function].format(alpha=confidence.alpha, epsilon=confidence.epsilon)
    above += _MULTIPLIER[item_weight.function].format(exponent=item_weight.exponent, floor=item_weight.floor)
    above += " * weight" if config.input.weight else ""
    c = f"{confidence.base:g} + {above}" if confidence.base else above
    target = {"preference": "1", "rating": "r"}[common.target] + (" - mean" if config.train.global_mean else "")
    train = config.train
    lines = [
        f"objective{f' (preset {train.preset})' if train.preset else ''}: "
        f"weight of a rating r: {c}; target {target}; "
        + (
            f"weight of unobserved pairs {common.unobserved_weight:g}, observed ones "
            + ("have theirs instead" if common.unobserved_on == "missing" else "have theirs on top")
            if common.unobserved_weight
            else "unobserved pairs do not count"
        )
    ]
    if confidence.impression is not None:
        lines.append(f"impressions (r <= 0): weight {confidence.base + confidence.impression:g}, target 0")
    diagonals = [
        _DIAGONAL[objective.reg_scaling].format(
            reg_param=objective.reg_param,
            unobserved_weight=objective.unobserved_weight,
            reg_exponent=objective.reg_exponent,
        )
        for objective in chosen.values()
    ]
    same = diagonals[0] == diagonals[1]
    lines.append(
        "penalty of a row: " + (diagonals[0] if same else f"{diagonals[0]} (users), {diagonals[1]} (items)")
        + (", n its number of observations" if common.reg_scaling != "plain" else "")
        + (" and N the rows of the other side" if common.reg_scaling == "frequency" else "")
        + (", biases included" if train.biases else "")
    )  # fmt: skip
    return lines


def describe_weights(weights: Histogram, objectives: dict[str, Objective], mean_rating: float) -> list[str]:
    """Quantiles of what observations weigh, and equivalent settings of other systems; a line each."""
    quantiles = zip(_QUANTILES, weights.quantiles(_QUANTILES), strict=True)
    names = {0.0: "least", 0.5: "median", 1.0: "most"}
    lines = [
        f"weights of {weights.size:,} observations: "
        + ", ".join(f"{names.get(q, f'{q:.0%}')} {value:.4g}" for q, value in quantiles)
        + f", mean {weights.mean:.4g}"
    ]
    found = equivalents(objectives, weights.size, weights.mean, mean_rating)
    if found:
        lines.append("in other systems' words, exact where weights and counts are equal, else at their means:")
    for equivalent in found:
        named = "".join(f"{key.partition('.')[2]} {value:.4g}, " for key, value in equivalent.weights.items())
        users, items = equivalent.user_reg_param, equivalent.item_reg_param
        same = np.isclose(users, items, rtol=1e-3)
        reg_param = f"{users:.4g}" if same else f"{users:.4g} (users), {items:.4g} (items)"
        lines.append(f"    {equivalent.preset:15s} {named}reg_param {reg_param}")
    return lines


def equivalents(
    objectives: dict[str, Objective], observations: int, mean_weight: float, mean_rating: float
) -> list[Equivalent]:
    """The same objective as settings of other presets.

    Exact, up to the scale of the factors, where all observations weigh the same and all rows of a side count the
    same; else at the mean weight and the mean row (docs/algorithm.md has the conversions). None for ratings that are
    the target with unobserved pairs beside them: no other system has that.
    """
    users, items = objectives["users"], objectives["items"]
    n_rows = {"users": items.n_fixed, "items": users.n_fixed}
    counts = {side: observations / max(rows, 1) for side, rows in n_rows.items()}
    penalty = {side: float(objectives[side].regularization(np.array([counts[side]]))[0]) for side in objectives}
    alpha_0 = users.unobserved_weight
    if users.target == "rating":
        if alpha_0:
            return []
        scaled = [penalty[side] / mean_weight / counts[side] for side in ("users", "items")]
        return [Equivalent("mllib-explicit", {}, *scaled)]
    if not alpha_0:
        return []
    # HKV's α of a rating of 1, and its plain λ, for either reading of the unobserved weight.
    beyond = mean_weight - users.unobserved_weight_in_confidence
    alpha = beyond / alpha_0
    if alpha <= 0:
        return []
    grow = 1.0 if users.unobserved_on == "missing" else (1.0 + alpha) / alpha  # factors scaled by its root
    plain = [penalty[side] / alpha_0 * grow for side in ("users", "items")]
    per_rating = alpha / mean_rating if mean_rating > 0 else alpha
    rendle = [
        value / (1.0 + alpha) / (counts[side] + objectives[side].n_fixed / alpha)
        for side, value in zip(("users", "items"), plain, strict=True)
    ]
    return [
        Equivalent("hkv", {"confidence.alpha": per_rating}, *plain),
        Equivalent(
            "mllib",
            {"confidence.alpha": per_rating},
            *(value / counts[side] for side, value in zip(("users", "items"), plain, strict=True)),
        ),
        Equivalent("implicit", {"confidence.alpha": (1.0 + alpha) / (mean_rating if mean_rating > 0 else 1.0)}, *plain),
        Equivalent("lenskit", {"confidence.alpha": alpha}, *plain),
        Equivalent("rendle", {"train.unobserved_weight": 1.0 / alpha}, *rendle),
    ]
