from __future__ import annotations

from pathlib import Path

import pytest
from objectives import resolved_of

from wals_spark.errors import ConfigError
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.export import ExportSettings
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.recommend import RecommendSettings
from wals_spark.settings.train import Config, load_config
from wals_spark.solvers.start import Start

PATHS = ["input.path=in", "output.path=out"]


def test_dotted_names_and_sections_are_the_same():
    config = Config.of({"train.rank": 32, "train": {"seed": 4}, "input": {"user": "who"}, "input.options": {"a": "b"}})
    assert config == Config.of({"train": {"rank": 32, "seed": 4}, "input.options.a": "b", "input.user": "who"})
    assert config.train.rank == 32
    assert config.input.options == {"a": "b"}


def test_nothing_given_is_every_default():
    assert Config.of() == Config.of({}) == Config()
    for kind in (EvaluateSettings, ExportSettings, FoldInSettings, RecommendSettings):
        assert kind.of() == kind()


def test_python_has_the_settings_that_a_file_has():
    assert Config.of({"train.preset": "rendle", "train.rank": 5, "input.path": "in", "output.path": Path("out")}) == (
        load_config(None, [*PATHS, "train.preset=rendle", "train.rank=5"])
    )
    assert Config.of({"train.preset": "implicit", "confidence.base": None}).confidence.base is None


def test_paths_are_for_jobs_alone():
    config = Config.of({"train.rank": 5})
    with pytest.raises(ConfigError, match=r"output\.path is not set"):
        config.require_paths()
    with pytest.raises(ConfigError, match=r"input\.path is not set"):
        Config.of({"output.path": "out"}).require_paths()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.rnak": 3}, r"unknown setting train\.rnak; did you mean rank\?"),
        ({"rank": 3}, r"unknown setting rank"),
        ({"train": 3}, r"train: expected `object`, got `int`"),
        ({"train": 3, "train.rank": 3}, r"train\.rank: train is a setting, not a section"),
        ({"train.rank": 0}, r"train\.rank: expected `int` >= 1"),
        ({"train.preset": ["hkv"]}, r"train\.preset: expected"),
        ({"input.item": "user"}, r"one column is named twice"),
        ({"train.implicit": False, "train.reg_param": 0.0}, r"no single solution"),
    ],
)
def test_bad_values_from_python_are_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        Config.of(values)


def test_what_is_given_is_not_changed():
    train, options = {"spread_above": 3}, {"header": True}
    assert Config.of({"train": train, "input": {"options": options}}).input.options == {"header": "true"}
    assert (train, options) == ({"spread_above": 3}, {"header": True})


def test_start_factors_have_the_settings_of_training():
    config = Config.of({"train.rank": 3, "train.seed": 5, "train.start_scale": 0.5})
    assert resolved_of(config).train.start_options == Start(rank=3, seed=5, scale=0.5, positive=False)


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ({}, False),
        ({"start": "positive"}, True),
        ({"nonnegative": True}, True),
        ({"implicit": False}, False),
        ({"implicit": False, "global_mean": False}, True),
        ({"implicit": False, "global_mean": True}, False),
        ({"implicit": False, "start": "normal"}, False),
    ],
)
def test_uncentred_and_nonnegative_factors_start_positive(values, positive):
    assert resolved_of(Config.of({"train": values})).train.start_options.positive is positive


def test_popularity_metrics_need_training_interactions():
    evaluate = EvaluateSettings.of({"evaluate.metrics": ["novelty"]}).evaluate
    assert evaluate.protocol(has_training=True, sampled=False).measures.names == ("novelty",)
    with pytest.raises(ConfigError, match=r"novelty needs the training interactions"):
        evaluate.protocol(has_training=False, sampled=False)
