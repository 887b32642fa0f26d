from __future__ import annotations

import pytest
from searches import TRIALS, load_search

from wals_spark.reports.tuning_report import tuning_report


@pytest.fixture
def space(tmp_path):
    parameters = load_search(tmp_path).tune.parameters
    return {name: parameters[name] for name in ("train.rank", "train.reg_param")}


def test_the_report_of_a_search_shows_every_trial(space):
    text = tuning_report(TRIALS, space, metric="ndcg@20", title="a & b", planned=20)
    for expected in (
        "4 of 20", "complete, trial 3: 0.3", "pruned, train.rank 4: 0.9", "best so far, trial 3: 0.3",
        "pruned at iteration 1", "Search for the highest ndcg@20", "Metric by trial and by setting",
        "Pruned trials are shown with their last intermediate value.",
    ):  # fmt: skip
        assert expected in text


def test_the_report_of_a_search_escapes_titles_and_messages(space):
    text = tuning_report(TRIALS, space, metric="ndcg@20", title="a & b", planned=20)
    assert "&lt;b&gt;singular&lt;/b&gt;" in text
    assert "a &amp; b" in text


def test_a_search_with_only_failed_trials_has_a_report(space):
    assert "failed" in tuning_report(TRIALS[1:2], space, metric="ndcg@20", title="", planned=20)


def test_a_metric_to_be_minimised_has_its_lowest_value_on_top(space):
    text = tuning_report(TRIALS, space, metric="percentile_rank", title="", planned=4, lower_is_better=True)
    assert "Search for the lowest percentile_rank" in text
    assert "best so far, trial 3: 0.2" in text
