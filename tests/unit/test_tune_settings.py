from __future__ import annotations

import pytest
from searches import load_search

from wals_spark.errors import ConfigError


@pytest.fixture
def load(tmp_path):
    return lambda *overrides, **text: load_search(tmp_path, *overrides, **text)


@pytest.mark.parametrize("metric", ["ndgc@20", "ndcg", "ndcg@0", "ndcg@x", "percentile_rank@5", "coverage@10", "@5"])
def test_an_unknown_metric_is_refused_with_the_known_ones(load, metric):
    with pytest.raises(ConfigError, match=f"tune.metric = {metric}: there is no such metric; known, .*ndcg@k"):
        load(f"tune.metric={metric}")


def test_complete_trials_have_all_metrics_and_running_ones_one(load):
    settings = load("evaluate.recall=capped", "tune.logged=recall@5,percentile_rank,ndcg@5", "evaluate.bootstrap=9")
    protocol, running = settings.protocol, settings.intermediate_protocol
    assert (protocol.measures.names, protocol.measures.ks) == (("ndcg", "recall", "percentile_rank"), (5, 20))
    assert (running.measures.names, running.measures.ks) == (("ndcg",), (20,))
    assert (protocol.replicates, running.replicates) == (9, 0)
    assert protocol.measures.recall == running.measures.recall == "capped"
    assert load("tune.metric=percentile_rank").protocol.measures.names == ("percentile_rank",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluate.metrics=ndcg"], r"evaluate\.metrics: no meaning in a search"),
        (["tune.logged=ndgc@20"], r"tune\.logged = ndgc@20: there is no such metric"),
        (["final.path=d", "fold_in.path=e"], r"final\.path: .* no meaning with fold_in\.path"),
        (["final.path=d", "candidates.path=e"], r"final\.path: .* or candidates\.path"),
    ],
)
def test_what_a_search_cannot_evaluate_is_refused(load, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load(*overrides)


def test_test_interactions_are_read_as_the_input_is(load):
    settings = load("input.user=listener", "input.rating=", "test.rating=r")
    assert (settings.test.user, settings.test.rating, settings.test.path) == ("listener", "r", "b")
    for table in (settings.fold_in, settings.final):
        assert (table.user, table.rating, table.path) == ("listener", "", "")


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
def test_an_invalid_search_space_is_refused_before_the_search(load, space, message):
    text = f"input.path='a'\ntest.path='b'\noutput.path='c'\n[tune.space]\n{space}\n"
    with pytest.raises(ConfigError, match=r"tune\.space") as refused:
        load(text=text)
    assert message in str(refused.value)
