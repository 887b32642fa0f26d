from __future__ import annotations

import math

import pytest

from wals_spark.errors import ConfigError
from wals_spark.objective.objective import Decay
from wals_spark.settings.train import Config, load_config
from wals_spark.settings.values import to_text

PATHS = ["input.path=in", "output.path=out"]


def test_defaults_file_and_overrides_apply_in_this_order(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text('[input]\npath = "a"\noptions = { sep = ";" }\n[train]\nrank = 5\nseed = 3\n[output]\npath = "b"\n')
    config = load_config(file, ["train.rank=7", "input.options.header=true", "output.publish=false"])
    assert (config.train.rank, config.train.seed, config.train.max_iter) == (7, 3, Config().train.max_iter)
    assert config.input.options == {"sep": ";", "header": "true"}
    assert config.output.publish is False


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.rnak=3", r"unknown setting train\.rnak; did you mean rank\?"),
        ("trian.rank=3", r"unknown setting trian; did you mean train\?"),
        ("train.rank=ten", r"train\.rank: a number, or auto, is needed"),
        ("train.rank=0", r"train\.rank: expected `int` >= 1"),
        ("train.reg_param=-1", r"train\.reg_param: expected `float` >= 0"),
        ("train.reg_param=nan", r"train\.reg_param"),
        ("train.reg_param=inf", r"train\.reg_param = inf: a finite number"),
        (
            "confidence.function=cubic",
            r"confidence\.function: invalid enum value 'cubic'; one of constant, linear",
        ),
        ("output.version=../escape", r"output\.version"),
        ("input.duplicates=last", r"input\.duplicates = last needs input\.timestamp"),
        ("confidence.half_life_days=30", r"confidence\.half_life_days needs input\.timestamp"),
        ("confidence.half_life_days=-1", r"confidence\.half_life_days: expected `float` >= 0"),
        ("confidence.reference_time=soon", r"confidence\.reference_time = 'soon': a time like 2026"),
        ("input.item=user", r"one column is named twice"),
        ("input.path=", r"input\.path is not set"),
        ("output.path=", r"output\.path is not set"),
        ("train.keep=best", r"train\.keep needs interactions to evaluate by: set held_out\.path"),
        ("held_out.users=9", r"held_out\.users needs interactions to evaluate by"),
        ("held_out.metric=ndcg", r"held_out\.metric = ndcg: there is no such metric; known, with k from 1: recall@k"),
        ("held_out.metric=rmse", r"held_out\.metric = rmse: of predicted ratings, which need train\.implicit = false"),
        ("held_out.share=1", r"held_out\.share: expected `float` < 1"),
        ("train.negatives.per_user=5", r"train\.negatives\.per_user needs train\.negatives\.from: the folder"),
        ("train.negatives.from=popularity", r"train\.negatives\.from needs train\.negatives\.per_user"),
        ("train.negatives.form=a", r"unknown setting train\.negatives\.form; did you mean from\?"),
        ("rank=3", r"--set takes section\.key=value"),
        ("train.rank", r"--set takes section\.key=value"),
        ("input.path.deep=1", r"path is a setting, not a section"),
    ],
)
def test_a_bad_setting_is_refused_by_name(override, message):
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(None, [*PATHS, override])
    assert refused.value.exit_code == 2


def test_a_missing_or_broken_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\nrank=1")
    with pytest.raises(ConfigError, match=r"broken\.toml' is not valid TOML"):
        load_config(broken)


def test_every_default_is_finite_and_survives_a_round_trip():
    config = load_config(None, PATHS)
    settings = [(f"{section}.{key}", v) for section, values in config.as_dict().items() for key, v in values.items()]
    assert all(math.isfinite(value) for _, value in settings if isinstance(value, float))
    assert load_config(None, [f"{name}={to_text(value)}" for name, value in settings]) == config


def test_decay_is_off_by_default_and_needs_times():
    assert load_config(None, PATHS).decay() is None
    settings = [*PATHS, "input.timestamp=at", "confidence.half_life_days=30", "confidence.decay_floor=0.1"]
    assert load_config(None, settings).decay() == Decay(30.0, 0.1, None)
    for moment in ("1970-01-02T00:00:00Z", "1970-01-02", "1970-01-02T01:00:00+01:00"):
        decay = load_config(None, [*settings, f"confidence.reference_time={moment}"]).decay()
        assert decay.reference == 86400.0


def test_held_out_interactions_are_read_as_input_is():
    config = Config.of(
        {"input.user": "who", "input.path": "a", "input.nonpositive": "impression", "held_out.item": "x"}
    )
    held_out = config.held_out
    assert (held_out.user, held_out.item, held_out.path, held_out.nonpositive) == ("who", "x", "", "unobserved")


def test_what_is_held_out_has_one_source():
    with pytest.raises(ConfigError, match=r"held_out\.path and held_out\.share: .* give one of them"):
        Config.of({"held_out.path": "a", "held_out.share": 0.1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.implicit": False}, "no meaning where the rating itself is the target"),
        ({"input.nonpositive": "impression"}, "keep one of them"),
    ],
)
def test_negatives_that_have_no_meaning_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Config.of({"train.negatives.per_user": 5, "train.negatives.from": "popularity", **settings})
