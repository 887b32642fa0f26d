from __future__ import annotations

import json

import pytest

from wals_spark.errors import ConfigError, InputError
from wals_spark.reports.tuning_report import tuning_report
from wals_spark.settings.loader import load_settings
from wals_spark.settings.tune import TuneSettings
from wals_spark.tuning.leaderboard import COMPLETE, FAILED, PRUNED, Leaderboard, Trial, best_first, read_leaderboard

GIVEN = """
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


@pytest.fixture
def load(tmp_path):
    def of(*overrides, text=GIVEN):
        (tmp_path / "tune.toml").write_text(text)
        return load_settings(TuneSettings, tmp_path / "tune.toml", overrides)

    return of


def run(settings, so_far, trials):
    """A search on a made metric that likes small λ and hates items first, without any training."""
    search = pytest.importorskip("wals_spark.tuning.proposals", reason="needs Optuna")
    pytest.importorskip("optuna", reason="the extra tune")
    so_far = list(so_far)
    while len(so_far) < trials:
        candidate = search.propose(settings.tune, so_far)
        values = candidate.values
        worth = 1.0 - values["train.reg_param"] / 20 - 0.3 * (values["train.first_side"] == "items")
        intermediate_values, state = {}, COMPLETE
        for iteration in (1, 2):
            intermediate_values[iteration] = worth * iteration / 3
            if candidate.should_prune(iteration, intermediate_values[iteration]):
                state = PRUNED
                break
        value = worth if state == COMPLETE else intermediate_values[max(intermediate_values)]
        so_far.append(Trial(candidate.number, state, values, value, 0.5, intermediate_values))
    return so_far


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_killed_after_any_trial_and_gone_on_with_tries_what_it_would_have_tried(load, sampler):
    settings = load(f"tune.sampler={sampler}")
    whole = run(settings, [], 14)
    assert {trial.state for trial in whole} == {COMPLETE, PRUNED}
    assert len({json.dumps(trial.settings) for trial in whole}) == 14
    for killed_after in (1, 7, 13):
        left = Leaderboard(settings.as_dict(), {}, tuple(whole[:killed_after])).as_json()
        assert run(settings, read_leaderboard(left, "here").trials, 14) == whole


def test_every_candidate_is_a_configuration_of_its_range_and_type(load):
    settings = load()
    for trial in run(settings, [], 14):
        config = settings.of_trial(trial.settings)
        assert 2 <= config.train.rank <= 9
        assert 0.01 <= config.train.reg_param <= 10
        assert config.confidence.alpha in (1.0, 10.0, 40.0)
        assert config.train.max_iter == 3
        assert config.input == settings.input


@pytest.mark.parametrize("metric", ["ndgc@20", "ndcg", "ndcg@0", "ndcg@x", "percentile_rank@5", "coverage@10", "@5"])
def test_a_metric_that_is_none_is_refused_with_those_there_are(load, metric):
    with pytest.raises(ConfigError, match=f"tune.metric = {metric}: there is no such metric; known, .*ndcg@k"):
        load(f"tune.metric={metric}")


def test_trials_are_judged_as_an_evaluation_would_by_one_metric_and_the_test_is_read_as_the_input_is(load):
    settings = load("input.user=listener", "input.rating=", "test.rating=r", "evaluate.recall=capped")
    assert (settings.test.user, settings.test.rating, settings.test.path) == ("listener", "r", "b")
    measures = settings.protocol.measures
    assert (measures.names, measures.ks, measures.recall, settings.protocol.replicates) == (
        ("ndcg",),
        (20,),
        "capped",
        0,
    )
    assert load("tune.metric=percentile_rank").protocol.measures.names == ("percentile_rank",)
    with pytest.raises(ConfigError, match=r"evaluate\.bootstrap: no meaning in a search"):
        load("evaluate.bootstrap=5")


TRIALS = [
    Trial(0, COMPLETE, {"train.rank": 2, "train.reg_param": 0.1}, 0.2, 1.0, {1: 0.1}),
    Trial(1, FAILED, {"train.rank": 3, "train.reg_param": 0.1}, None, 1.0, message="<b>singular</b>"),
    Trial(2, PRUNED, {"train.rank": 4, "train.reg_param": 0.1}, 0.9, 1.0, {1: 0.9}),
    Trial(3, COMPLETE, {"train.rank": 5, "train.reg_param": 3.0}, 0.3, 1.0),
]


def test_the_leaderboard_has_complete_trials_first_the_best_of_them_on_top_and_reads_back_as_it_was(load):
    board = Leaderboard(json.loads(json.dumps(load().as_dict())), {"observations": 4}, tuple(TRIALS))
    assert [trial["number"] for trial in json.loads(board.as_json())["trials"]] == [3, 0, 2, 1]
    assert [trial.number for trial in best_first(TRIALS, lower_is_better=True)] == [0, 3, 2, 1]
    assert read_leaderboard(board.as_json(), "here") == board


def test_a_leaderboard_of_another_search_is_refused_with_what_differs(load):
    data = {"observations": 4}
    board = read_leaderboard(Leaderboard(load().as_dict(), data, tuple(TRIALS)).as_json(), "here")
    board.refuse_other(load("tune.trials=40").as_dict(), data, "here")
    with pytest.raises(ConfigError, match=r"here is of a search with other settings \(test\.path, tune\.metric\)"):
        board.refuse_other(load("test.path=x", "tune.metric=recall@5").as_dict(), data, "here")
    with pytest.raises(ConfigError, match=r"other settings \(tune\.space\)"):
        board.refuse_other(load("tune.space.train.rank.high=10").as_dict(), data, "here")
    with pytest.raises(InputError, match=r"on other data \(\{'observations': 4\}; now \{'observations': 5\}\)"):
        board.refuse_other(load().as_dict(), {"observations": 5}, "here")
    with pytest.raises(InputError, match="here is no wals_spark leaderboard of version 1"):
        read_leaderboard("{}", "here")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("train.rnak = { low = 1, high = 2 }", "unknown setting train.rnak; did you mean rank?"),
        ("input.path = { choices = ['a'] }", "settings of confidence and train can vary, those of input not"),
        (
            "confidence.half_life_days = { low = 1, high = 2 }",
            "half_life_days changes the interactions before they are",
        ),
        ("train.preset = { choices = ['hkv'] }", "train.preset is a name for other settings"),
        ("train.rank = { low = 4, high = 4 }", "train.rank from 4.0 to 4.0 is no range: low < high is needed"),
        ("train.rank = { low = 4 }", "train.rank from 4.0 to None is no range"),
        ("train.rank = {}", "train.rank needs either choices, or low and high"),
        ("train.rank = { choices = [4], high = 5 }", "train.rank needs either choices, or low and high"),
        ("train.rank = { low = 1.5, high = 5 }", "train.rank takes whole numbers, not 1.5 to 5.0"),
        ("train.rank = { low = 0, high = 5 }", "train.rank: expected `int` >= 1"),
        ("train.reg_param = { low = 0, high = 5, log = true }", "a logarithmic scale begins above 0"),
        ("train.reg_param = { low = 0, high = inf }", "is no range"),
        ("train.solver = { low = 0, high = 5 }", "train.solver is no number: list its choices"),
        ("train.solver = { choices = ['qr'] }", "train.solver: invalid enum value 'qr'; one of cg, exact, cholesky"),
        ("train.solver = { choises = ['cg'] }", "unknown setting"),
        ("", "tune.space is empty"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_before_anything_runs(load, space, message):
    given = f"input.path='a'\ntest.path='b'\noutput.path='c'\n[tune.space]\n{space}\n"
    with pytest.raises(ConfigError, match=r"tune\.space") as refused:
        load(text=given)
    assert message in str(refused.value)


def test_the_picture_of_a_search_shows_every_trial_and_what_failed_as_text(load):
    space = load().tune.parameters
    shown = {name: space[name] for name in ("train.rank", "train.reg_param")}
    text = tuning_report(TRIALS, shown, metric="ndcg@20", title="a & b", planned=20)
    for expected in (
        "4 of 20", "&lt;b&gt;singular&lt;/b&gt;", "complete, trial 3: 0.3", "pruned, train.rank 4: 0.9",
        "best so far, trial 3: 0.3", "a &amp; b", "pruned at iteration 1",
    ):  # fmt: skip
        assert expected in text
    assert "failed" in tuning_report(TRIALS[1:2], shown, metric="ndcg@20", title="", planned=20)
