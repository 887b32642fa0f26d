from __future__ import annotations

import pytest

from wals_spark.errors import ConfigError
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.loader import load_settings

NEEDED = ("model.path=m", "test.path=t")


def settings(*given):
    return load_settings(EvaluateSettings, None, [*NEEDED, *given])


def test_test_and_candidates_are_read_as_the_input_is():
    evaluation = settings(
        "input.path=i", "input.format=csv", "input.user=who", "input.rating=plays", "candidates.path=c", "test.user=u"
    )
    assert (evaluation.test.path, evaluation.test.format, evaluation.test.user, evaluation.test.rating) == (
        "t",
        "csv",
        "u",
        "plays",
    )
    assert (evaluation.candidates.path, evaluation.candidates.user, evaluation.candidates.rating) == ("c", "who", "")


def test_lists_are_given_as_text_with_commas_too(tmp_path):
    (tmp_path / "e.toml").write_text("[evaluate]\nk = [5, 50]\nmetrics = ['recall']\n")
    assert load_settings(EvaluateSettings, tmp_path / "e.toml", NEEDED).evaluate.k == (5, 50)
    evaluation = settings("evaluate.k=20,5", "evaluate.metrics=ndcg, recall")
    assert (evaluation.evaluate.metrics, evaluation.protocol.measures.ks) == (("ndcg", "recall"), (5, 20))
    assert settings("evaluate.k=7").evaluate.k == (7,)


def test_all_metrics_are_taken_that_can_be():
    assert "novelty" not in settings().protocol.measures.names
    assert "coverage" in settings().protocol.measures.names
    assert "novelty" in settings("input.path=i").protocol.measures.names


def test_ties_are_against_the_test_item_among_candidates():
    assert settings().protocol.ties == "order"
    assert settings("candidates.path=c").protocol.ties == "against"
    assert settings("candidates.path=c", "evaluate.ties=for").protocol.ties == "for"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("evaluate.metrics=ndgc", "evaluate.metrics: there is no metric ndgc; did you mean ndcg?"),
        ("evaluate.metrics=novelty", "evaluate.metrics: novelty needs the training interactions (input.path)"),
        ("evaluate.k=0", "evaluate.k = 0: a list has at least one item"),
        ("evaluate.k=", "evaluate.k: expected `array` of length >= 1"),
        ("model.path=", "model.path is not set"),
        ("test.path=", "test.path is not set: name the interactions to test with"),
        ("test.nonpositive=dislike", "an item that a user dislikes is no hit"),
        ("evaluate=3", "--set takes section.key=value"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_setting(given, message):
    with pytest.raises(ConfigError) as refused:
        settings(given)
    assert message in str(refused.value)
