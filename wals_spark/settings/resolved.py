"""The settings of a training whose data has been counted: a number in place of each ``auto``, and the objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from wals_spark.objective.automatic import AUTO, RULES, DataCounts, Rules
from wals_spark.objective.objective import Confidence, ItemWeight, Objective
from wals_spark.settings.confidence import ConfidenceSettings, ResolvedConfidence
from wals_spark.settings.train import Config
from wals_spark.settings.training import WARM_MAX_ITER, ResolvedTrain

_ONCE: Mapping[str, float] = MappingProxyType({})
_OF_IMPLICIT = frozenset({"confidence.alpha", "confidence.epsilon", "train.unobserved_weight"})
_OF_EXPLICIT = frozenset({"train.biases", "train.global_mean"})


class ResolvedConfig(Config, frozen=True, kw_only=True):
    """All settings of a training run, none of them ``auto``."""

    confidence: ResolvedConfidence
    train: ResolvedTrain

    def as_warm(self, config: Config) -> ResolvedConfig:
        """The same for a warm start: an automatic number of iterations is that of one."""
        if config.train.max_iter != AUTO:
            return self
        return msgspec.structs.replace(self, train=msgspec.structs.replace(self.train, max_iter=WARM_MAX_ITER))

    def objectives(self, counts: DataCounts) -> dict[str, Objective]:
        """What is minimised, per side, as executors receive it."""
        train, confidence = self.train, self.confidence
        common = Objective(
            confidence=_confidence(self),
            item_weight=ItemWeight(confidence.item_weight, confidence.item_exponent, confidence.propensity_floor),
            unobserved_weight=train.unobserved_weight if train.implicit else 0.0,
            unobserved_on=train.unobserved_on,
            target=train.target if train.implicit else "rating",
            offset=counts.ratings.mean if train.global_mean else 0.0,
            reg_param=train.reg_param,
            reg_scaling=train.reg_scaling,
            reg_exponent=train.reg_exponent,
            nonnegative=train.nonnegative,
            held=None,
            n_fixed=0,
            largest_item_count=counts.largest_item_count,
        )
        # A user's row ends in (bias, 1), an item's in (1, bias); the coordinate that is 1 is held there.
        of_users, of_items = (train.rank + 1, train.rank) if train.biases else (None, None)
        return {
            "users": replace(common, reg_param=train.lambda_of("users"), n_fixed=counts.items, held=of_users),
            "items": replace(common, reg_param=train.lambda_of("items"), n_fixed=counts.users, held=of_items),
        }


def resolved(
    config: Config, counts: DataCounts, rules: Rules = RULES, times: Mapping[str, float] = _ONCE
) -> ResolvedConfig:
    """The settings with a number in place of each ``auto``, by what the data has (`objective/automatic.py` has how).

    An automatic λ is such that the row with the mean number of observations has the same penalty under every
    ``reg_scaling``, and of the side's own if those of users and of items differ. ``times`` has factors for automatic
    values, by the settings' full names; α₀ is multiplied before λ follows from it.
    """
    values = config.as_dict()
    train: dict[str, Any] = values["train"]
    confidence = values["confidence"] = _with_numbers(config.confidence, counts, times)
    centred = not (config.train.implicit or config.train.nonnegative)
    usual = {
        "biases": centred,
        "global_mean": centred,
        "rank": rules.rank_of(counts),
        "max_iter": rules.max_iter,
    }
    train.update({name: value for name, value in usual.items() if train[name] == AUTO})
    mean_weight = _mean_weight(config, confidence, counts)
    if train["unobserved_weight"] == AUTO:
        automatic = rules.unobserved_weight(counts, mean_weight) if train["implicit"] else 0.0
        train["unobserved_weight"] = automatic * times.get("train.unobserved_weight", 1.0)
    if train["reg_param"] == AUTO:
        lambdas, factor = _lambdas(train, counts, mean_weight, rules), times.get("train.reg_param", 1.0)
        of_users, of_items = (value * factor for value in lambdas)
        train["reg_param"] = of_users
        if train["item_reg_param"] is None and of_items != of_users:
            train["item_reg_param"] = of_items
    return msgspec.convert(values, ResolvedConfig)


def automatic_settings(config: Config) -> list[str]:
    """The full names of the settings that are ``auto`` and are in use."""
    implicit = config.train.implicit
    unused = _OF_EXPLICIT if implicit else _OF_IMPLICIT
    if config.confidence.function != "log":
        unused = unused | {"confidence.epsilon"}
    names = [
        f"{section}.{name}"
        for section, settings in config.as_dict().items()
        for name, value in settings.items()
        if value == AUTO and section in ("confidence", "train") and name != "start"
    ]
    return [name for name in names if name not in unused]


def _with_numbers(settings: ConfidenceSettings, counts: DataCounts, times: Mapping[str, float]) -> dict[str, Any]:
    """The confidence's settings with numbers for ε and α, so that a model does not change with the ratings' unit."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    median = counts.median_rating
    if values["epsilon"] == AUTO:
        values["epsilon"] = median * times.get("confidence.epsilon", 1.0)
    if values["alpha"] == AUTO:
        unit = Confidence(settings.function, alpha=1.0, epsilon=values["epsilon"], base=0.0, impression=None)
        values["alpha"] = times.get("confidence.alpha", 1.0) / float(unit.of(np.array([median]))[0])
    return values


def _lambdas(train: dict[str, Any], counts: DataCounts, mean_weight: float, rules: Rules) -> tuple[float, float]:
    """The λ of users and of items with which the mean row of that side has its automatic penalty."""
    alpha_0, lambdas = train["unobserved_weight"], []
    for n_rows, n_fixed in ((counts.users, counts.items), (counts.items, counts.users)):
        n = max(1.0, counts.observations / max(n_rows, 1))
        if train["implicit"]:
            penalty = rules.penalty(n, n_fixed, mean_weight=mean_weight, alpha_0=alpha_0, counts=counts)
        else:
            penalty = rules.explicit_penalty(n, counts.ratings.deviation)
        scales = {"plain": 1.0, "count": n, "frequency": (n + alpha_0 * n_fixed) ** train["reg_exponent"]}
        lambdas.append(float(penalty / scales[train["reg_scaling"]]))
    return lambdas[0], lambdas[1]


def _mean_weight(config: Config, confidence: dict[str, Any], counts: DataCounts) -> float:
    """Of the observations, by the confidence function alone, beyond the weight that unobserved pairs have."""
    if not config.train.implicit or not counts.ratings.magnitudes.size:
        return 1.0
    function = Confidence(
        confidence["function"], alpha=confidence["alpha"], epsilon=confidence["epsilon"],
        base=confidence["base"] or 0.0, impression=None,
    )  # fmt: skip
    return counts.mean_weight * counts.ratings.magnitudes.mean_of(function.of) or 1.0


def _confidence(config: ResolvedConfig) -> Confidence:
    train, confidence = config.train, config.confidence
    if not train.implicit:
        return Confidence("constant", alpha=1.0, epsilon=1.0, base=0.0, impression=None)
    replaced = train.unobserved_weight if train.unobserved_on == "missing" else 0.0
    return Confidence(
        confidence.function,
        alpha=confidence.alpha,
        epsilon=confidence.epsilon,
        base=replaced if confidence.base is None else confidence.base,
        impression=_impression(config),
    )


def _impression(config: ResolvedConfig) -> float | None:
    """The confidence above the base that a row with a rating of zero has: an impression, or a negative."""
    negatives, train = config.train.negatives, config.train
    if negatives.per_user:
        return train.unobserved_weight if negatives.weight == AUTO else negatives.weight
    return config.confidence.impression_weight if config.input.nonpositive == "impression" else None
