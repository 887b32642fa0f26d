from __future__ import annotations

import json
from pathlib import Path

import pytest
from searches import TRIALS, load_search

from wals_spark.errors import ConfigError, InputError
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Leaderboard, best_first, read_leaderboard

DATA = {"observations": 4}

OLD_LEADERBOARD = Path(__file__).with_name("leaderboard_0_1.json")  # written by wals_spark 0.1
OLD_SEARCH = """
input.path = "plays"
test.path = "plays-test"
output.path = "search"
[confidence]
alpha = 10.0
epsilon = 1.0
[train]
max_iter = 3
unobserved_weight = 1.0
biases = false
global_mean = false
unobserved_on = "missing"
reg_scaling = "count"
rank = 64
reg_param = 1.0
spread_above = 50000
[tune]
trials = 20
pruner = "median"
startup = 4
prune_every = 1
[tune.space.train]
rank = { low = 2, high = 9 }
reg_param = { low = 0.01, high = 10.0, log = true }
"""


def test_complete_trials_come_first_the_best_on_top(tmp_path):
    board = Leaderboard(load_search(tmp_path).as_dict(), DATA, tuple(TRIALS))
    records = json.loads(board.as_json())["trials"]
    assert [(record["place"], record["number"]) for record in records] == [(1, 3), (2, 0), (3, 2), (4, 1)]
    assert [trial.number for trial in best_first(TRIALS, lower_is_better=True)] == [0, 3, 2, 1]


def test_a_leaderboard_reads_back_as_it_was_written(tmp_path):
    settings = json.loads(json.dumps(load_search(tmp_path).as_dict()))
    board = Leaderboard(settings, DATA, tuple(TRIALS))
    assert read_leaderboard(board.as_json(), "here") == board


def test_only_the_number_of_trials_may_change_on_resume(tmp_path):
    board = read_leaderboard(Leaderboard(load_search(tmp_path).as_dict(), DATA, tuple(TRIALS)).as_json(), "here")
    board.refuse_other(load_search(tmp_path, "tune.trials=40").as_dict(), DATA, "here")
    with pytest.raises(ConfigError, match=r"here is of a search with other settings \(test\.path, tune\.metric\)"):
        board.refuse_other(load_search(tmp_path, "test.path=x", "tune.metric=recall@5").as_dict(), DATA, "here")
    with pytest.raises(ConfigError, match=r"other settings \(tune\.space\)"):
        board.refuse_other(load_search(tmp_path, "tune.space.train.rank.high=10").as_dict(), DATA, "here")
    with pytest.raises(InputError, match=r"on other data \(\{'observations': 4\}; now \{'observations': 5\}\)"):
        board.refuse_other(load_search(tmp_path).as_dict(), {"observations": 5}, "here")


@pytest.mark.parametrize("text", ["{}", '{"format": "wals_spark leaderboard", "format_version": 2}'])
def test_files_that_are_not_leaderboards_are_refused(text):
    with pytest.raises(InputError, match="here is no wals_spark leaderboard of version 1"):
        read_leaderboard(text, "here")
    with pytest.raises(InputError, match="here is no JSON"):
        read_leaderboard("half a fi", "here")


def test_a_leaderboard_of_version_0_1_is_read_and_resumed(tmp_path):
    text = OLD_LEADERBOARD.read_text()
    assert "looks" in text
    assert "spread_above" in text
    board = read_leaderboard(text, "here")
    assert [(trial.state, trial.intermediate_values) for trial in board.trials] == [
        (COMPLETE, {1: 0.1}),
        (FAILED, {}),
        (PRUNED, {1: 0.9}),
    ]
    board.refuse_other(load_search(tmp_path, text=OLD_SEARCH).as_dict(), board.data, "here")
