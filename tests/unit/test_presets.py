from __future__ import annotations

from dataclasses import replace
from typing import get_args

import msgspec
import numpy as np
import pytest
from local_training import half_iteration, lay_out, start

from wals_spark.config import Train, load_config
from wals_spark.errors import ConfigError
from wals_spark.objective import Objective
from wals_spark.presets import PRESETS

PATHS = ["input.path=in", "output.path=out"]
R = np.array([0.5, 1.0, 7.0])
N, N_FIXED = np.array([3, 40]), 100


def objective_of(*settings):
    return load_config(None, [*PATHS, *settings]).objectives(users=7, items=N_FIXED)["users"]


# Each system's own (w, s), α₀ and Λ, from its source: for ratings R, counts N and N_FIXED rows on the other side.
FORMULAS = {
    "hkv": (["train.reg_param=3"], 40 * R, 1 + 40 * R, 1.0, [3, 3]),
    "mllib": ([], R, 1 + R, 1.0, 0.1 * N),
    "mllib-explicit": ([], np.ones(3), R, 0.0, 0.1 * N),
    "implicit": (["confidence.alpha=2"], 2 * R - 1, 2 * R, 1.0, [0.01, 0.01]),
    "rendle": (["train.reg_param=0.2"], np.ones(3), np.ones(3), 0.1, 0.2 * (N + 0.1 * N_FIXED)),
    "qmf": ([], 40 * R, 1 + 40 * R, 1.0, [0.05, 0.05]),
    "lenskit": ([], 40 * np.ones(3), 41 * np.ones(3), 1.0, [0.1, 0.1]),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_weights_and_the_diagonal_of_its_system(preset):
    settings, curvature, pull, unobserved_weight, diagonal = FORMULAS[preset]
    objective = objective_of(f"train.preset={preset}", *settings)
    terms = objective.observed_terms(R)
    np.testing.assert_allclose(terms.curvature, curvature)
    np.testing.assert_allclose(terms.pull, pull)
    assert objective.unobserved_weight == unobserved_weight
    np.testing.assert_allclose(objective.regularization(N), diagonal)


def test_mllib_turns_a_negative_rating_into_a_target_of_zero_that_does_not_count_for_lambda():
    terms = objective_of("train.preset=mllib").observed_terms(np.array([-3.0]))
    assert (terms.curvature[0], terms.pull[0], terms.constant[0]) == (3.0, 0.0, 0.0)


def test_the_presets_in_the_settings_are_those_there_are():
    field = next(field for field in msgspec.structs.fields(Train) if field.name == "preset")
    assert set(get_args(get_args(field.type)[0])) == {"", *PRESETS}
    with pytest.raises(ConfigError, match=r"train\.preset: invalid enum value 'mlib'; one of .*mllib"):
        load_config(None, [*PATHS, "train.preset=mlib"])
    for preset in PRESETS:
        assert load_config(None, [*PATHS, f"train.preset={preset}"]).train.preset == preset


def test_any_setting_wins_over_the_preset(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text(
        '[input]\npath="a"\n[output]\npath="b"\n[train]\npreset="rendle"\nrank=5\n[confidence]\nalpha=2.0\n'
    )
    config = load_config(file, ["train.max_iter=3"])
    assert (config.train.rank, config.train.max_iter, config.train.unobserved_on) == (5, 3, "all")
    assert (config.confidence.alpha, config.confidence.function) == (2.0, "constant")


def test_each_side_may_have_its_own_lambda():
    config = load_config(None, [*PATHS, "train.reg_scaling=plain", "train.reg_param=2", "train.item_reg_param=5"])
    objectives = config.objectives(users=1, items=1)
    assert [objectives[side].regularization(N)[0] for side in ("users", "items")] == [2.0, 5.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.reg_param=0", "train.unobserved_weight=0"], "no single solution"),
        (["train.implicit=false", "train.reg_param=0"], "no single solution"),
        (["train.preset=mllib-explicit", "train.item_reg_param=0"], "no single solution"),
        (["train.implicit=false", "confidence.alpha=3"], r"confidence\.alpha: no meaning with train\.implicit = false"),
        (["train.implicit=false", "train.unobserved_weight=1"], r"train\.unobserved_weight: no meaning"),
        (["train.unobserved_weight=-1"], r"train\.unobserved_weight: expected `float` >= 0"),
        (["train.user_reg_param=-1"], r"train\.user_reg_param"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, [*PATHS, *settings])


def factors(side):
    by_id = side.by_id()
    return np.stack([by_id[i] for i in sorted(by_id)]).astype(np.float64)


def trained(users, items, ratings, objective, *, rank, scale, iterations):
    user_side, item_side, _ = lay_out(users, items, ratings, user_blocks=2, item_blocks=2)
    for side, name in ((user_side, "users"), (item_side, "items")):
        start(side, name, objective, rank=rank, scale=scale)
    for _ in range(iterations):
        half_iteration(user_side, item_side, replace(objective, n_fixed=len(set(items))), rank)
        half_iteration(item_side, user_side, replace(objective, n_fixed=len(set(users))), rank)
    return factors(user_side), factors(item_side)


def test_on_binary_data_hkv_ranks_as_rendle_does():
    """hkv(α, λ) is rendle(1/α, λ/(1 + α), ν = 0) with factors √(1 + 1/α) as large: peers' conversion, exactly."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 25)) < 0.2)
    alpha, reg_param = 20.0, 7.0
    hkv = objective_of("train.preset=hkv", f"confidence.alpha={alpha}", f"train.reg_param={reg_param}")
    rendle = objective_of(
        "train.preset=rendle", f"train.unobserved_weight={1 / alpha}", f"train.reg_param={reg_param / (1 + alpha)}",
        "train.reg_exponent=0",
    )  # fmt: skip
    scale = np.sqrt(1 + 1 / alpha)
    options = {"rank": 5, "iterations": 6}
    x_hkv, y_hkv = trained(users, items, np.ones(len(users)), hkv, scale=scale, **options)
    x, y = trained(users, items, np.ones(len(users)), rendle, scale=1.0, **options)
    np.testing.assert_allclose(x_hkv @ y_hkv.T, scale**2 * (x @ y.T), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(np.argsort(-x_hkv @ y_hkv.T)[:, :3], np.argsort(-x @ y.T)[:, :3])


def test_with_all_weights_equal_it_is_the_plain_low_rank_approximation():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(12, 8)) + 3
    users, items = np.indices(matrix.shape).reshape(2, -1)
    objective = Objective(target="rating", unobserved_weight=0.0, confidence=_ONE, reg_param=1e-9)
    x, y = trained(users, items, matrix.ravel(), objective, rank=3, scale=1.0, iterations=300)
    u, s, vt = np.linalg.svd(matrix.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(x @ y.T, (u[:, :3] * s[:3]) @ vt[:3], atol=1e-4)


def test_a_fully_observed_low_rank_matrix_is_recovered():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(15, 3)) @ rng.normal(size=(3, 10))
    users, items = np.indices(matrix.shape).reshape(2, -1)
    objective = Objective(target="rating", unobserved_weight=0.0, confidence=_ONE, reg_param=1e-9)
    x, y = trained(users, items, matrix.ravel(), objective, rank=3, scale=1.0, iterations=30)
    np.testing.assert_allclose(x @ y.T, matrix, atol=1e-4)


_ONE = objective_of("train.preset=mllib-explicit").confidence
