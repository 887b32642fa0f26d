"""A search over settings for tests: its configuration, and finished trials."""

from __future__ import annotations

from wals_spark.settings.loader import load_settings
from wals_spark.settings.tune import TuneSettings
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Trial

SEARCH = """
input.path = "a"
test.path = "b"
output.path = "c"
[train]
max_iter = 3
[tune]
trials = 20
startup = 4
prune_every = 1
[tune.space.train]
rank = { low = 2, high = 9 }
reg_param = { low = 0.01, high = 10.0, log = true }
first_side = { choices = ["users", "items"] }
[tune.space.confidence]
alpha = { choices = [1, 10, 40] }
"""

TRIALS = [
    Trial(0, COMPLETE, {"train.rank": 2, "train.reg_param": 0.1}, 0.2, 1.0, {1: 0.1}),
    Trial(1, FAILED, {"train.rank": 3, "train.reg_param": 0.1}, None, 1.0, message="<b>singular</b>"),
    Trial(2, PRUNED, {"train.rank": 4, "train.reg_param": 0.1}, 0.9, 1.0, {1: 0.9}),
    Trial(3, COMPLETE, {"train.rank": 5, "train.reg_param": 3.0}, 0.3, 1.0),
]


def load_search(folder, *overrides, text=SEARCH):
    """The settings in a TOML file, which is written to ``folder``, and overrides."""
    (folder / "tune.toml").write_text(text)
    return load_settings(TuneSettings, folder / "tune.toml", overrides)
