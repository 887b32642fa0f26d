from __future__ import annotations

from typing import get_args

import msgspec
import numpy as np
import pytest
from objectives import objectives_of

from wals_spark.errors import ConfigError
from wals_spark.local.blocks import Interactions
from wals_spark.local.training import fit
from wals_spark.objective.presets import PRESETS
from wals_spark.run.objective_summary import equivalents
from wals_spark.settings.loader import checked
from wals_spark.settings.train import Config, load_config
from wals_spark.settings.training import Train

PATHS = ["input.path=in", "output.path=out"]
R = np.array([0.5, 1.0, 7.0])
ITEM_COUNTS = np.array([2, 5, 20])
N, N_FIXED = np.array([3, 40]), 100


def objective_of(*settings):
    return objectives_of(load_config(None, [*PATHS, *settings]), users=7, items=N_FIXED)["users"]


# Each system's own (w, s), α₀ and Λ, from its source: for ratings R, counts N and N_FIXED rows on the other side.
FORMULAS = {
    "hkv": (["train.reg_param=3"], 40 * R, 1 + 40 * R, 1.0, [3, 3]),
    "mllib": ([], R, 1 + R, 1.0, 0.1 * N),
    "mllib-explicit": ([], np.ones(3), R, 0.0, 0.1 * N),
    "implicit": (["confidence.alpha=2"], 2 * R - 1, 2 * R, 1.0, [0.01, 0.01]),
    "rendle": (["train.reg_param=0.2"], np.ones(3), np.ones(3), 0.1, 0.2 * (N + 0.1 * N_FIXED)),
    # R_i = 1, C_j = 130/c_j for the counts of each observation's item; W = ω₀ + C_j, target a.
    "google-wals": ([], 130 / ITEM_COUNTS, (0.01 + 130 / ITEM_COUNTS) * R, 0.01, [0.07, 0.07]),
    "qmf": ([], 40 * R, 1 + 40 * R, 1.0, [0.05, 0.05]),
    "lenskit": ([], 40 * np.ones(3), 41 * np.ones(3), 1.0, [0.1, 0.1]),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_weights_and_the_diagonal_of_its_system(preset):
    settings, excess_weight, pull, unobserved_weight, diagonal = FORMULAS[preset]
    objective = objective_of(f"train.preset={preset}", *settings)
    terms = objective.observed_terms(R, objective.item_weight.of(ITEM_COUNTS, 20))
    np.testing.assert_allclose(terms.excess_weight, excess_weight)
    np.testing.assert_allclose((terms.excess_weight + objective.unobserved_weight_in_confidence) * terms.target, pull)
    assert objective.unobserved_weight == unobserved_weight
    np.testing.assert_allclose(objective.regularization(N), diagonal)


def test_a_negative_rating_has_target_zero_as_in_mllib():
    terms = objective_of("train.preset=mllib").observed_terms(np.array([-3.0]))
    assert (terms.excess_weight[0], terms.target[0]) == (3.0, 0.0)


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
    objectives = objectives_of(config, users=1, items=1)
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
        (["train.implicit=false", "train.target=preference"], r"train\.target: no meaning"),
        (
            ["train.implicit=false", "confidence.item_weight=count"],
            r"item_weight = count: defined by the weight",
        ),
        (["confidence.item_exponent=2"], r"item_exponent needs confidence\.item_weight = power or propensity"),
        (["confidence.propensity_floor=0.1", "confidence.item_weight=power"], r"propensity_floor needs .* propensity"),
        (["confidence.propensity_floor=0"], r"propensity_floor: expected `float` > 0"),
        (["confidence.impression_weight=2"], r"impression_weight needs input\.nonpositive = impression"),
        (["train.implicit=false", "input.nonpositive=impression"], r"input\.nonpositive = impression: no meaning"),
        (["train.target=rating", "input.nonpositive=dislike"], r"input\.nonpositive = dislike: no meaning"),
        (["train.global_mean=true"], r"global_mean: implicit feedback has no mean rating"),
        (["train.implicit=false", "train.global_mean=true", "train.nonnegative=true"], r"leaves ratings below 0"),
        (["train.start=normal", "train.nonnegative=true"], r"train\.start = normal is not"),
        (["input.weight=item"], r"one column is named twice among user, item, rating, weight"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, [*PATHS, *settings])


def config_of(*settings):
    return load_config(None, [*PATHS, *settings])


def trained(config, users, items, ratings, *, iterations, **settings):
    """x·y of all pairs after training; ids are 0 to n − 1."""
    values = config.as_dict()
    values["train"].update(max_iter=iterations, **settings)
    config = checked(Config, values)
    model = fit(Interactions(users, items, ratings), config, user_blocks=2, item_blocks=2)
    x, y = (np.stack([side[i] for i in sorted(side)]).astype(np.float64) for side in (model.users, model.items))
    return x @ y.T


def test_on_binary_data_hkv_ranks_as_rendle_does():
    """hkv(α, λ) is rendle(1/α, λ/(1 + α), ν = 0) with factors √(1 + 1/α) as large: peers' conversion, exactly."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 25)) < 0.2)
    alpha, reg_param = 20.0, 7.0
    hkv = config_of("train.preset=hkv", f"confidence.alpha={alpha}", f"train.reg_param={reg_param}")
    rendle = config_of(
        "train.preset=rendle", f"train.unobserved_weight={1 / alpha}", f"train.reg_param={reg_param / (1 + alpha)}",
        "train.reg_exponent=0",
    )  # fmt: skip
    scale = np.sqrt(1 + 1 / alpha)
    options = {"rank": 5, "iterations": 6, "first_side": "users"}
    of_hkv = trained(hkv, users, items, np.ones(len(users)), start_scale=scale, **options)
    of_rendle = trained(rendle, users, items, np.ones(len(users)), start_scale=1.0, **options)
    np.testing.assert_allclose(of_hkv, scale**2 * of_rendle, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(np.argsort(-of_hkv)[:, :3], np.argsort(-of_rendle)[:, :3])


def regular_pairs(n_users, n_items, per_user, seed=0):
    """Random pairs, each user with as many items as any other, and each item with as many users."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users), per_user)
    while True:
        items = rng.permutation(np.resize(np.arange(n_items), len(users)))
        if len(set(zip(users, items, strict=True))) == len(users):
            return users, items


@pytest.mark.parametrize(
    "settings",
    [
        ["train.preset=hkv", "confidence.alpha=3", "train.reg_param=2"],
        ["train.preset=mllib", "confidence.alpha=4", "train.reg_param=0.2"],
        ["train.preset=implicit", "confidence.alpha=5", "train.reg_param=0.7"],
        ["train.preset=rendle", "train.unobserved_weight=0.2", "train.reg_param=0.02"],
        ["train.unobserved_weight=0.3", "confidence.item_weight=inverse", "train.user_reg_param=3"],
        ["train.preset=mllib-explicit", "train.reg_scaling=plain", "train.reg_param=0.5"],
    ],
)
def test_equivalents_of_other_systems_rank_the_same(settings):
    users, items = regular_pairs(12, 8, 4)
    ratings = np.full(len(users), 2.0)
    config = config_of(*settings)
    objectives = objectives_of(config, users=12, items=8, mean_rating=2.0, largest_item_count=6)
    o = objectives["users"]
    weight = float(
        o.observed_terms(ratings[:1], o.item_weight.of(np.array([6]), 6)).excess_weight[0]
        + o.unobserved_weight_in_confidence
    )
    options = {"rank": 3, "iterations": 5, "first_side": "items", "start": "normal", "relaxation": 1.0}
    mine = trained(config, users, items, ratings, start_scale=1.0, **options)
    others = equivalents(objectives, len(users), weight, 2.0)
    assert others
    for equivalent in others:
        other = config_of(*equivalent.settings())
        ratio = 1.0
        if o.target == "preference":  # Rendle's factors are smaller by the root of 1 + α₀
            alpha_0 = next(e.weights["train.unobserved_weight"] for e in others if e.preset == "rendle")
            of_all = [c.train.unobserved_on == "all" for c in (config, other)]
            ratio = (1 + alpha_0) ** (of_all[0] - of_all[1])
        theirs = trained(other, users, items, ratings, start_scale=np.sqrt(ratio), **options)
        np.testing.assert_allclose(theirs, ratio * mine, rtol=1e-3, atol=1e-5, err_msg=equivalent.preset)


def test_equal_weights_give_the_plain_low_rank_approximation():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(12, 8)) + 3
    users, items = np.indices(matrix.shape).reshape(2, -1)
    scores = trained(_LEAST_SQUARES, users, items, matrix.ravel(), rank=3, iterations=300)
    u, s, vt = np.linalg.svd(matrix.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(scores, (u[:, :3] * s[:3]) @ vt[:3], atol=1e-4)


@pytest.mark.parametrize("biases", [False, True])
def test_a_fully_observed_low_rank_matrix_is_recovered(biases):
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(15, 3)) @ rng.normal(size=(3, 10))
    if biases:
        matrix += rng.normal(size=(15, 1)) + rng.normal(size=10) + 3.0
    users, items = np.indices(matrix.shape).reshape(2, -1)
    scores = trained(_LEAST_SQUARES, users, items, matrix.ravel(), rank=3, iterations=60, biases=biases)
    np.testing.assert_allclose(scores, matrix, atol=1e-4)


def test_the_global_mean_is_subtracted_before_training():
    rng = np.random.default_rng(3)
    users, items = np.nonzero(rng.random((30, 20)) < 0.4)
    ratings = rng.integers(1, 6, len(users)).astype(np.float64)
    options = {"rank": 2, "iterations": 5, "start": "normal"}
    config = config_of("train.preset=mllib-explicit")
    centred = trained(config, users, items, ratings - ratings.mean(), **options)
    np.testing.assert_allclose(
        trained(config, users, items, ratings, global_mean=True, **options), centred, rtol=1e-3, atol=1e-5
    )


_LEAST_SQUARES = config_of("train.preset=mllib-explicit", "train.reg_scaling=plain", "train.reg_param=1e-9")
