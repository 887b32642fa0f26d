from __future__ import annotations

import json

import pytest
from searches import load_search

from wals_spark.tuning.leaderboard import COMPLETE, PRUNED, Leaderboard, Trial, read_leaderboard

proposals = pytest.importorskip("wals_spark.tuning.proposals")
pytest.importorskip("optuna", reason="the extra tune is not installed")


def run_search(settings, finished, n_trials):
    """A search on a metric that prefers a small λ and users first, without any training."""
    finished = list(finished)
    while len(finished) < n_trials:
        candidate = proposals.propose(settings.tune, finished)
        values = candidate.values
        metric = 1.0 - values["train.reg_param"] / 20 - 0.3 * (values["train.first_side"] == "items")
        intermediate_values, state = {}, COMPLETE
        for iteration in (1, 2):
            intermediate_values[iteration] = metric * iteration / 3
            if candidate.should_prune(iteration, intermediate_values[iteration]):
                state = PRUNED
                break
        value = metric if state == COMPLETE else intermediate_values[max(intermediate_values)]
        finished.append(Trial(candidate.number, state, values, value, 0.5, intermediate_values))
    return finished


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_resumed_search_has_the_trials_of_one_never_killed(tmp_path, sampler):
    settings = load_search(tmp_path, f"tune.sampler={sampler}")
    trials = run_search(settings, [], 14)
    assert {trial.state for trial in trials} == {COMPLETE, PRUNED}
    assert len({json.dumps(trial.settings) for trial in trials}) == 14
    for killed_after in (1, 7, 13):
        text = Leaderboard(settings.as_dict(), {}, tuple(trials[:killed_after])).as_json()
        assert run_search(settings, read_leaderboard(text, "here").trials, 14) == trials


def test_candidates_have_values_of_the_search_space(tmp_path):
    settings = load_search(tmp_path)
    for trial in run_search(settings, [], 14):
        config = settings.of_trial(trial.settings)
        assert 2 <= config.train.rank <= 9
        assert 0.01 <= config.train.reg_param <= 10
        assert config.confidence.alpha in (1.0, 10.0, 40.0)
        assert config.train.max_iter == 3
        assert config.input == settings.input
