"""Whether a training may start from the factors of a stored model: what they minimise must be the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wals_spark.settings.resolved import ResolvedConfig

_OF_OBJECTIVE = {
    "train": (
        "implicit",
        "target",
        "unobserved_weight",
        "unobserved_on",
        "biases",
        "global_mean",
        "rank",
        "reg_param",
        "reg_scaling",
        "reg_exponent",
        "user_reg_param",
        "item_reg_param",
        "nonnegative",
    ),
    "input": ("nonpositive",),
}
_SHAPE = ("train.rank", "train.biases")  # must be equal even where both are chosen automatically


def other_objective(manifest: Mapping[str, Any], config: ResolvedConfig, automatic: Sequence[str]) -> list[str]:
    """The settings by which the objective of a training is another than that of a stored model, such as ``rank``.

    A setting that was and is ``auto`` may have another value today: it follows the data.

    Parameters
    ----------
    manifest
        Of the stored model.
    automatic
        The settings of ``config`` that were ``auto``, by their full names.
    """
    then, now = manifest["settings"], json.loads(json.dumps(config.shown()))
    names = {**_OF_OBJECTIVE, "confidence": tuple(now["confidence"])}
    both_automatic = {*automatic, "train.item_reg_param"} & {*manifest.get("automatic", ()), "train.item_reg_param"}
    if "train.reg_param" not in both_automatic:
        both_automatic -= {"train.item_reg_param"}  # which follows an automatic reg_param
    differ = []
    for section, keys in names.items():
        for key in keys:
            name, before, after = f"{section}.{key}", then.get(section, {}).get(key), now[section][key]
            if before != after and (name in _SHAPE or name not in both_automatic):
                differ.append(f"{name} = {after} (it was {before})")
    return differ
