"""Compares automatic settings with tuned ones on data sets that the rule is not fitted on. See --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from study.data_sets import DATA_SETS, Parts, sets_in, split_set
from study.models import ndcg, rmse, settings_for

import wals_spark
from wals_spark.objective.automatic import RULES, Rules

DEFAULTS_OF_0_1 = {
    "confidence.alpha": 10.0, "confidence.epsilon": 1.0, "train.rank": 64, "train.unobserved_weight": 1.0,
    "train.unobserved_on": "missing", "train.reg_param": 1.0, "train.reg_scaling": "count",
}  # fmt: skip
PEERS: dict[str, Mapping[str, Any]] = {
    "0.1": DEFAULTS_OF_0_1,
    "mllib": {"train.preset": "mllib"},
    "implicit": {"train.preset": "implicit"},
}
EXPLICIT: dict[str, Any] = {"train.implicit": False}
EPILOG = """\
For each set: training, validation and test. A search of --trials by Optuna, and the candidates of the rule, are judged
on the validation part. The constants of the left-out rule of a set are those with the least mean square shortfall from
the search on all other sets. All that is then compared is trained on training and validation, and judged on the test.
mllib and implicit are this project's presets of these systems, which tests compare with the systems themselves.
"""
CANDIDATES = [
    replace(RULES, unobserved_per_observed=c, lambda_scale=scale)
    for c, scale in product((5.0, 10.0, 20.0), (0.11, 0.14, 0.175, 0.22, 0.28))
]


def main() -> None:
    """Split the sets, study each, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder of data sets, laid out as scripts/study/data_sets.py says")
    parser.add_argument("--sets", default=",".join(DATA_SETS), help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/study"), help="for parts and results: %(default)s")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names = sets_in(options.data, options.sets)
    with wals_spark.open_session("study", local_master="local[2]") as spark:
        parts = [split_set(spark, name, options.data, options.work) for name in names]
    with ProcessPoolExecutor(options.processes) as pool:
        study = partial(study_set, trials=options.trials, folder=options.work)
        studied = dict(zip(names, pool.map(study, names, parts), strict=True))
        rules = {name: fitted_rule({other: studied[other] for other in names if other != name}) for name in names}
        left_out = pool.map(automatic, parts, [rules[name] for name in names])
    for name, value in zip(names, left_out, strict=True):
        studied[name] |= {"left out": value, "rule": _constants(rules[name])}
    (options.work / "study.json").write_text(json.dumps(studied, indent=1))
    print("\n".join(table(studied)))
    print(f"\nfitted on all sets: {_constants(fitted_rule(studied))}; this version has {_constants(RULES)}")
    explicit = {name: study_ratings(part) for name, part in zip(names, parts, strict=True) if DATA_SETS[name].ratings}
    for name, results in explicit.items():
        print(f"{name}, RMSE of ratings: " + ", ".join(f"{model} {value:.4f}" for model, value in results.items()))


def study_set(name: str, parts: Parts, trials: int, folder: Path) -> dict[str, Any]:
    """NDCG@20 on the test of what is compared, and on the validation part of the search and the candidates.

    Where an earlier run of as many trials left its results, they are read.
    """
    file = folder / name / f"results-{trials}.json"
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    compared = {peer: settings_for(parts.train_and_validation, settings) for peer, settings in PEERS.items()}
    of_peers = {peer: ndcg(parts.train_and_validation, parts.test, config) for peer, config in compared.items()}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, multivariate=True))
    study.optimize(partial(_judged, parts), n_trials=trials)
    print(f"{name}: tuned", file=sys.stderr, flush=True)
    best, best_rules = _choice(optuna.trial.FixedTrial(study.best_params))
    tuned = settings_for(parts.train_and_validation, best, best_rules)
    on_validation = [
        ndcg(parts.train, parts.validation, settings_for(parts.train, {}, rules)).model for rules in CANDIDATES
    ]
    print(f"{name}: done", file=sys.stderr, flush=True)
    results = {
        "popularity": of_peers["mllib"].popularity,
        **{peer: value.model for peer, value in of_peers.items()},
        "tuned": ndcg(parts.train_and_validation, parts.test, tuned).model,
        "automatic": automatic(parts, RULES),
        "best": study.best_params,
        "candidates": [value / study.best_value for value in on_validation],
    }
    file.write_text(json.dumps(results, indent=1))
    return results


def automatic(parts: Parts, rules: Rules) -> float:
    """NDCG@20 on the test of what the rules choose."""
    return ndcg(parts.train_and_validation, parts.test, settings_for(parts.train_and_validation, {}, rules)).model


def fitted_rule(studied: Mapping[str, Mapping[str, Any]]) -> Rules:
    """The candidate with the least mean square shortfall from the search."""
    shortfalls = 1 - np.array([results["candidates"] for results in studied.values()])  # (n_sets, n_candidates)
    return CANDIDATES[int(np.argmin((shortfalls**2).mean(axis=0)))]


def table(studied: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """NDCG@20 of everything, and of the left-out rule and the automatic settings over the tuned ones."""
    columns = ("popularity", *PEERS, "tuned", "left out", "automatic")
    yield "| set | " + " | ".join(columns) + " | left out / tuned | automatic / tuned |"
    yield "|---" * (len(columns) + 3) + "|"
    ratios = np.array([[results[key] / results["tuned"] for key in columns[-2:]] for results in studied.values()])
    for (name, results), ratio in zip(studied.items(), ratios, strict=True):
        values = [f"{results[column]:.4f}" for column in columns] + [f"{value:.3f}" for value in ratio]
        yield f"| {name} | " + " | ".join(values) + " |"
    for name, row in (("mean", ratios.mean(axis=0)), ("least", ratios.min(axis=0))):
        yield f"| {name} " + "| " * len(columns) + "".join(f"| {value:.3f} " for value in row) + "|"


def study_ratings(parts: Parts) -> dict[str, float]:
    """RMSE on the test of automatic settings, MLlib's defaults, and the best λ of a grid with and without biases."""
    tuned = min(
        ({**EXPLICIT, "train.reg_param": reg_param, "train.biases": biases, "train.global_mean": biases}
         for reg_param, biases in product((0.05, 0.07, 0.09, 0.11, 0.14, 0.18), (False, True))),
        key=lambda settings: rmse(parts.train, parts.validation, settings_for(parts.train, settings)),
    )  # fmt: skip
    compared = {"automatic": EXPLICIT, "mllib": {"train.preset": "mllib-explicit"}, "tuned": tuned}
    return {
        model: rmse(parts.train_and_validation, parts.test, settings_for(parts.train_and_validation, settings))
        for model, settings in compared.items()
    }


def _constants(rules: Rules) -> str:
    return f"c {rules.unobserved_per_observed:g}, scale of lambda {rules.lambda_scale:g}"


def _choice(trial: optuna.trial.BaseTrial) -> tuple[dict[str, Any], Rules]:
    """What a careful search varies: weight of the unobserved, λ, ν, rank and confidence, on scales that compare."""
    rules = replace(
        RULES,
        unobserved_per_observed=trial.suggest_float("unobserved_per_observed", 2, 60, log=True),
        lambda_scale=trial.suggest_float("lambda_scale", 0.04, 0.7, log=True),
    )
    settings = {
        "train.rank": trial.suggest_categorical("rank", [32, 64, 128]),
        "train.reg_exponent": trial.suggest_float("reg_exponent", 0.5, 1.0),
        "confidence.function": trial.suggest_categorical("function", ["constant", "log", "sqrt"]),
    }
    return settings, rules


def _judged(parts: Parts, trial: optuna.Trial) -> float:
    settings, rules = _choice(trial)
    return ndcg(parts.train, parts.validation, settings_for(parts.train, settings, rules)).model


if __name__ == "__main__":
    main()
