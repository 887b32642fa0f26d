"""The objective in words: what the settings resolve to, its weights on the data, and other systems' settings for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wals_spark.arrays.histogram import Histogram
from wals_spark.objective.automatic import DataCounts
from wals_spark.objective.objective import Objective
from wals_spark.settings.resolved import ResolvedConfig, automatic_settings
from wals_spark.settings.train import Config
from wals_spark.settings.values import to_text

_SIDES = ("users", "items")
_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
_CONFIDENCE = {
    "constant": "{alpha:g}",
    "linear": "{alpha:g} r",
    "log": "{alpha:g} ln(1 + r/{epsilon:g})",
    "sqrt": "{alpha:g} sqrt(r)",
}
_ITEM_WEIGHT = {
    "none": "",
    "count": " * c_i",
    "inverse": " / c_i",
    "power": " / c_i^{exponent:g}",
    "propensity": " / max({floor:g}, (c_i/c_max)^{exponent:g})",
}
_REGULARIZATION = {
    "plain": "{reg_param:g}",
    "count": "{reg_param:g} n",
    "frequency": "{reg_param:g} (n + {unobserved_weight:g} N)^{reg_exponent:g}",
}


@dataclass(frozen=True)
class Equivalent:
    """The same objective as settings of another system: its preset, weights by name, and λ of users and of items."""

    preset: str
    weights: dict[str, float]
    user_reg_param: float
    item_reg_param: float

    def settings(self) -> list[str]:
        """The preset and what changes it, as ``section.key=value``."""
        weights = [f"{key}={value!r}" for key, value in self.weights.items()]
        return [
            f"train.preset={self.preset}",
            *weights,
            f"train.user_reg_param={self.user_reg_param!r}",
            f"train.item_reg_param={self.item_reg_param!r}",
        ]


def describe_automatic(config: Config, chosen: ResolvedConfig, counts: DataCounts) -> list[str]:
    """The values that automatic settings have, and what they are chosen by; a line, or none."""
    names = automatic_settings(config)
    if not names:
        return []
    values = ", ".join(f"{name} {_value(chosen, name)}" for name in names)
    return [f"automatic: {values} (density {counts.density:.3g}; the formulas are in docs/choosing.md)"]


def _value(config: ResolvedConfig, name: str) -> str:
    value = config.value_of(name)
    text = to_text(value) if isinstance(value, bool) else f"{value:.4g}"
    of_items = f"{config.train.lambda_of('items'):.4g}"
    if name == "train.reg_param" and of_items != text:
        text += f" (items: {of_items})"
    return text


def describe_objective(config: ResolvedConfig, counts: DataCounts) -> list[str]:
    """What a preset and the settings on top of it resolve to, a few lines."""
    objectives = config.objectives(counts)
    common, train = objectives["users"], config.train
    target = {"preference": "1", "rating": "r"}[common.target] + (" - mean" if train.global_mean else "")
    name = f"objective (preset {train.preset})" if train.preset else "objective"
    lines = [
        f"{name}: weight of a rating r: {_confidence(common, weighted=bool(config.input.weight))}; target {target}; "
        + _unobserved(common)
    ]
    confidence = common.confidence
    if confidence.impression is not None:
        rows = "negatives" if train.negatives.per_user else "impressions (r <= 0)"
        lines.append(f"{rows}: weight {confidence.base + confidence.impression:g}, target 0")
    lines.append(f"penalty per row: {_penalty(objectives)}{', biases included' if train.biases else ''}")
    return lines


def _confidence(objective: Objective, *, weighted: bool) -> str:
    """The confidence as a formula; ``weighted`` if rows have weights of their own."""
    confidence, item_weight = objective.confidence, objective.item_weight
    above = _CONFIDENCE[confidence.function].format(alpha=confidence.alpha, epsilon=confidence.epsilon)
    above += _ITEM_WEIGHT[item_weight.function].format(exponent=item_weight.exponent, floor=item_weight.floor)
    above += " * weight" if weighted else ""
    return f"{confidence.base:g} + {above}" if confidence.base else above


def _unobserved(objective: Objective) -> str:
    if not objective.unobserved_weight:
        return "unobserved pairs do not count"
    on_observed = "do not have" if objective.unobserved_on == "missing" else "have too"
    return f"weight of unobserved pairs {objective.unobserved_weight:g}, which observed pairs {on_observed}"


def _penalty(objectives: Mapping[str, Objective]) -> str:
    users, items = (
        _REGULARIZATION[objective.reg_scaling].format(
            reg_param=objective.reg_param,
            unobserved_weight=objective.unobserved_weight,
            reg_exponent=objective.reg_exponent,
        )
        for objective in (objectives["users"], objectives["items"])
    )
    symbols = {"plain": "", "count": ", n its number of observations"}
    symbols["frequency"] = f"{symbols['count']} and N the rows of the other side"
    both = users if users == items else f"{users} (users), {items} (items)"
    return both + symbols[objectives["users"].reg_scaling]


def describe_weights(weights: Histogram, objectives: Mapping[str, Objective], mean_rating: float) -> list[str]:
    """Quantiles of the observations' weights, and equivalent settings of other systems, one line each."""
    quantiles = zip(_QUANTILES, weights.quantiles(_QUANTILES), strict=True)
    names = {0.0: "min", 0.5: "median", 1.0: "max"}
    lines = [
        f"weights of {weights.size:,} observations: "
        + ", ".join(f"{names.get(q, f'{q:.0%}')} {value:.4g}" for q, value in quantiles)
        + f", mean {weights.mean:.4g}"
    ]
    others = equivalents(objectives, weights.size, weights.mean, mean_rating)
    if others:
        lines.append(
            "settings of other systems for it, exact if all weights and counts are equal, else at their means:"
        )
    for equivalent in others:
        changed = "".join(f"{key.partition('.')[2]} {value:.4g}, " for key, value in equivalent.weights.items())
        users, items = equivalent.user_reg_param, equivalent.item_reg_param
        same = np.isclose(users, items, rtol=1e-3)
        reg_param = f"{users:.4g}" if same else f"{users:.4g} (users), {items:.4g} (items)"
        lines.append(f"    {equivalent.preset:15s} {changed}reg_param {reg_param}")
    return lines


def equivalents(
    objectives: Mapping[str, Objective], observations: int, mean_weight: float, mean_rating: float
) -> list[Equivalent]:
    """The same objective as settings of other presets.

    Exact, up to the scale of the factors, if all observations have the same weight and all rows of a side the same
    number of observations; else at the mean weight and the mean row (docs/algorithm.md has the conversions). Empty for
    ratings as targets with unobserved pairs beside them: no other system has that.
    """
    users = objectives["users"]
    n_rows = {"users": objectives["items"].n_fixed, "items": users.n_fixed}
    counts = {side: observations / max(rows, 1) for side, rows in n_rows.items()}
    penalty = {side: float(objectives[side].regularization(np.array([counts[side]]))[0]) for side in objectives}
    if users.target == "preference":
        return _of_implicit(objectives, counts, penalty, mean_weight, mean_rating)
    if users.unobserved_weight:
        return []
    scaled = [penalty[side] / mean_weight / counts[side] for side in _SIDES]
    return [Equivalent("mllib-explicit", {}, *scaled)]


def _of_implicit(
    objectives: Mapping[str, Objective],
    counts: Mapping[str, float],
    penalty: Mapping[str, float],
    mean_weight: float,
    mean_rating: float,
) -> list[Equivalent]:
    """`equivalents` for targets of 1; ``counts`` and ``penalty`` are of a mean row per side."""
    users = objectives["users"]
    alpha_0 = users.unobserved_weight
    if not alpha_0:
        return []
    # HKV's α of a rating of 1, and its plain λ, for either reading of the unobserved weight.
    excess_weight = mean_weight - users.unobserved_weight_in_confidence
    alpha = excess_weight / alpha_0
    if alpha <= 0:
        return []
    growth = 1.0 if users.unobserved_on == "missing" else (1.0 + alpha) / alpha  # factors are scaled by its root
    plain = [penalty[side] / alpha_0 * growth for side in _SIDES]
    per_count = [value / counts[side] for side, value in zip(_SIDES, plain, strict=True)]
    rendle = [
        value / (1.0 + alpha) / (counts[side] + objectives[side].n_fixed / alpha)
        for side, value in zip(_SIDES, plain, strict=True)
    ]
    alpha_of_rating = alpha / mean_rating if mean_rating > 0 else alpha
    alpha_of_implicit = (1.0 + alpha) / (mean_rating if mean_rating > 0 else 1.0)
    return [
        Equivalent("hkv", {"confidence.alpha": alpha_of_rating}, *plain),
        Equivalent("mllib", {"confidence.alpha": alpha_of_rating}, *per_count),
        Equivalent("implicit", {"confidence.alpha": alpha_of_implicit}, *plain),
        Equivalent("lenskit", {"confidence.alpha": alpha}, *plain),
        Equivalent("rendle", {"train.unobserved_weight": 1.0 / alpha}, *rendle),
    ]
