from __future__ import annotations

import json

import pytest
from objectives import objectives_of

from wals_spark.errors import ConfigError
from wals_spark.run.manifest import read_manifest, read_objectives, read_training_settings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.recommend import RecommendSettings
from wals_spark.settings.train import Config, load_config
from wals_spark.settings.tune import TuneSettings
from wals_spark.tuning.leaderboard import read_leaderboard

PATHS = ["input.path=in", "output.path=out"]
RECOMMEND = ["model.path=m", "output.path=o", "input.path=i"]

# A manifest as version 0.1 wrote it, without what is not read here.
OLD_MANIFEST = """
{
  "format": "wals_spark model",
  "format_version": 1,
  "version": "v1", "created": "2026-01-02T03:04:05+00:00", "rank": 16, "half_iterations": 20,
  "tables": {"user_factors": {"path": "user_factors", "rows": 200},
    "item_factors": {"path": "item_factors", "rows": 30}},
  "score": {"formula": "global_mean + dot(user, item)", "global_mean": 0.0, "length": 16, "biases": null},
  "counts": {"users": 200, "items": 30}, "loss": {"total": 1.0}, "stopped_by": "max_iter", "solved_last": "users",
  "written_by": {"wals_spark": "0.1.0"},
  "settings": {
    "input": {
      "path": "plays.csv", "format": "csv", "options": {"header": "true"}, "user": "user", "item": "item",
      "rating": "rating", "weight": "", "timestamp": "", "duplicates": "sum", "bad_rows": "refuse",
      "nonpositive": "bad"
    },
    "confidence": {
      "function": "log", "alpha": 10.0, "epsilon": 1.0, "base": null, "impression_weight": 1.0, "item_weight": "none",
      "item_exponent": 0.5, "propensity_floor": 0.01, "half_life_days": 0.0, "decay_floor": 0.0, "reference_time": ""
    },
    "train": {
      "preset": "", "implicit": true, "target": "preference", "biases": false, "global_mean": false,
      "unobserved_weight": 1.0, "unobserved_on": "missing", "rank": 16, "max_iter": 10, "tol": 0.0, "solver": "cg",
      "cg_steps": 3, "relaxation": 1.5, "reg_param": 1.0, "reg_scaling": "count", "reg_exponent": 1.0,
      "user_reg_param": null, "item_reg_param": null, "nonnegative": false, "start": "auto", "start_scale": 1.0,
      "first_side": "items", "seed": 0, "user_blocks": 0, "item_blocks": 0, "spread_above": 5000
    },
    "output": {"path": "model", "version": "", "publish": true}
  },
  "objectives": {
    "users": {
      "confidence": {"function": "log", "alpha": 10.0, "epsilon": 1.0, "base": 1.0, "impression": null},
      "item_weight": {"function": "none", "exponent": 0.5, "floor": 0.01}, "unobserved_weight": 1.0,
      "unobserved_on": "missing", "target": "preference", "offset": 0.0, "reg_param": 1.0, "reg_scaling": "count",
      "reg_exponent": 1.0, "nonnegative": false, "held": null, "n_fixed": 30, "largest_item_count": 7
    },
    "items": {
      "confidence": {"function": "log", "alpha": 10.0, "epsilon": 1.0, "base": 1.0, "impression": null},
      "item_weight": {"function": "none", "exponent": 0.5, "floor": 0.01}, "unobserved_weight": 1.0,
      "unobserved_on": "missing", "target": "preference", "offset": 0.0, "reg_param": 1.0, "reg_scaling": "count",
      "reg_exponent": 1.0, "nonnegative": false, "held": null, "n_fixed": 200, "largest_item_count": 7
    }
  }
}
"""


def test_an_old_name_works_with_one_warning(tmp_path, caplog):
    file = tmp_path / "train.toml"
    file.write_text("[train]\nspread_above = 7\n")
    assert load_config(file, PATHS).train.heavy_row_threshold == 7
    assert [record.name for record in caplog.records] == ["wals_spark"]
    assert caplog.records[0].levelname == "WARNING"
    assert caplog.messages[0].startswith("train.spread_above is now called train.heavy_row_threshold")
    caplog.clear()
    assert load_config(None, [*PATHS, "train.spread_above=8", "train.spread_above=9"]).train.heavy_row_threshold == 9
    assert Config.of({"train.spread_above": 9}).train.heavy_row_threshold == 9
    assert len(caplog.messages) == 2
    caplog.clear()
    load_config(None, PATHS)
    assert not caplog.messages


def test_renamed_sections_and_modes_of_recommending_work(caplog):
    old = ["whom.path=w", "whom.options={header='true'}", "whom.options.sep=;", "recommend.unknown=popular"]
    settings = load_settings(RecommendSettings, None, [*RECOMMEND, *old])
    assert (settings.queries.path, settings.queries.options) == ("w", {"header": "true", "sep": ";"})
    assert settings.recommend.cold_start == "popular"
    assert sorted(message.split()[0] for message in caplog.messages) == ["recommend.unknown", "whom"]
    settings = load_settings(RecommendSettings, None, [*RECOMMEND, "recommend.what=similar-users"])
    assert settings.mode.column == "similar_user"


def test_a_setting_under_both_names_is_refused(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text("[train]\nspread_above = 7\n")
    both = r"train\.spread_above is now called train\.heavy_row_threshold, and both are given: keep train\.heavy_row"
    with pytest.raises(ConfigError, match=both):
        load_config(file, [*PATHS, "train.heavy_row_threshold=7"])
    with pytest.raises(ConfigError, match="whom is now called queries, and both are given"):
        load_settings(RecommendSettings, None, [*RECOMMEND, "whom.path=a", "queries.column=b"])


def test_old_names_in_a_search_space_are_the_new_ones(caplog):
    space = "tune.space.train.spread_above={low=1, high=5}"
    with pytest.raises(ConfigError, match=r"train\.heavy_row_threshold does not change the model"):
        load_settings(TuneSettings, None, [*PATHS, "test.path=t", space])
    assert caplog.messages[0].startswith("tune.space.train.spread_above is now called tune.space.train.heavy_row")


DEFAULTS_OF_0_1 = {
    "max_iter": 10,
    "reg_param": 1.0,
    "reg_scaling": "count",
    "unobserved_weight": 1.0,
    "unobserved_on": "missing",
    "biases": False,
    "global_mean": False,
}


def test_a_manifest_of_before_the_new_names_opens(caplog):
    document = read_manifest(OLD_MANIFEST, "manifest.json")
    config = read_training_settings(document, "manifest.json")
    assert config == Config.of(
        {
            "input": {"path": "plays.csv", "format": "csv", "options": {"header": "true"}},
            "train": {"rank": 16, "heavy_row_threshold": 5000, **DEFAULTS_OF_0_1},
            "confidence": {"alpha": 10.0, "epsilon": 1.0},
            "output.path": "model",
        }
    )
    assert read_objectives(document, "manifest.json") == objectives_of(
        config, users=200, items=30, largest_item_count=7
    )
    assert not caplog.messages  # nobody can change what was written


def test_a_leaderboard_of_before_the_new_names_goes_on():
    given = [*PATHS, "test.path=t", "tune.space.train.rank={choices=[2, 3]}"]
    settings = json.loads(json.dumps(load_settings(TuneSettings, None, given).as_dict()))
    old = json.loads(json.dumps(settings))
    old["train"]["spread_above"] = old["train"].pop("heavy_row_threshold")
    document = {"format": "wals_spark leaderboard", "format_version": 1, "metric": "ndcg@20", "lower_is_better": False}
    text = json.dumps({**document, "trials": [], "data": {"observations": 4}, "settings": old})
    board = read_leaderboard(text, "leaderboard.json")
    board.refuse_other(settings, {"observations": 4}, "leaderboard.json")
    assert board.settings == settings
