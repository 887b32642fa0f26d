from __future__ import annotations

import pytest
from objectives import counts_of_data
from searches import load_search

from wals_spark.errors import ConfigError
from wals_spark.settings.resolved import resolved
from wals_spark.settings.train import load_config
from wals_spark.tuning.best_settings import best_settings, changed_settings
from wals_spark.tuning.leaderboard import COMPLETE, Trial

pytest.importorskip("optuna", reason="the extra tune is not installed")
from wals_spark.tuning.proposals import nearest, propose

SPACE = """
input.path = "plays.csv"
input.format = "csv"
input.options = { header = "true", sep = "\\t" }
test.path = "b"
output.path = "c"
[tune]
prune_every = 3
[tune.space.train]
rank = { choices = [16, 64] }
reg_exponent = { low = 0.5, high = 0.9 }
reg_param = { low = 0.25, high = 4.0, log = true, times_auto = true }
unobserved_weight = { low = 2.0, high = 4.0, log = true, times_auto = true }
[tune.space.confidence]
function = { choices = ["sqrt", "constant"] }
"""
COUNTS = counts_of_data(users=500, items=300, observations=6000)


def test_the_first_trial_is_what_training_does_by_itself(tmp_path):
    settings = load_search(tmp_path, text=SPACE)
    base = resolved(settings.of_trial({}), COUNTS)
    first = nearest(settings.tune, {name: base.value_of(name) for name in settings.tune.parameters})
    assert first == {
        "train.rank": 64,  # of 128
        "train.reg_exponent": 0.9,  # of 1
        "train.reg_param": 1.0,
        "train.unobserved_weight": 2.0,  # of 1
    }
    values = propose(settings.tune, (), first=first).values
    assert {name: values[name] for name in first} == first
    assert values["confidence.function"] in ("sqrt", "constant")  # log is not among them
    drawn = propose(settings.tune, [Trial(0, COMPLETE, values, 0.1, 1.0)], first=first).values
    assert drawn != values


def test_multiples_are_of_the_value_beside_the_other_settings(tmp_path):
    settings = load_search(tmp_path, text=SPACE)

    def trained(values):
        return resolved(settings.of_trial(values), COUNTS, times=settings.times_auto(values)).train

    once = trained({"train.reg_param": 1.0, "train.unobserved_weight": 1.0})
    more = trained({"train.reg_param": 1.0, "train.unobserved_weight": 3.0})
    assert more.unobserved_weight == pytest.approx(3 * once.unobserved_weight)
    assert more.reg_param < once.reg_param  # chance is less among so much more weight
    assert trained({"train.reg_param": 0.5, "train.unobserved_weight": 3.0}).reg_param == more.reg_param / 2
    assert trained({"train.reg_param": 1.0}).reg_param == once.reg_param


def test_the_best_settings_are_a_configuration_of_training(tmp_path):
    settings = load_search(tmp_path, text=SPACE)
    values = {"train.rank": 16, "train.reg_param": 2.0, "train.reg_exponent": 0.5, "confidence.function": "sqrt"}
    chosen = resolved(settings.of_trial(values), COUNTS, times=settings.times_auto(values))
    best = Trial(7, COMPLETE, values, 0.25, 1.0, trained=changed_settings(chosen))
    (tmp_path / "best.toml").write_text(best_settings(settings, best))
    config = load_config(tmp_path / "best.toml", [])
    for section in ("input", "confidence", "train"):
        assert config.as_dict()[section] == chosen.as_dict()[section]
    assert "Trial 8 of the search in c: ndcg@20 0.25" in (tmp_path / "best.toml").read_text()


@pytest.mark.parametrize(
    ("pruner", "evaluated"), [("halving", [3, 12, 48]), ("median", list(range(3, 50, 3))), ("none", [])]
)
def test_a_running_trial_is_evaluated_where_it_may_be_pruned(tmp_path, pruner, evaluated):
    settings = load_search(tmp_path, f"tune.pruner={pruner}", text=SPACE)
    assert [iteration for iteration in range(1, 50) if settings.tune.evaluates_after(iteration)] == evaluated


@pytest.mark.parametrize("setting", ["train.rank", "train.reg_exponent", "train.seed"])
def test_multiples_need_an_automatic_number(tmp_path, setting):
    with pytest.raises(ConfigError, match=rf"{setting} has no automatic number, so times_auto has no meaning"):
        load_search(tmp_path, f"tune.space.{setting}={{low=1, high=2, times_auto=true}}", text=SPACE)
