"""Settings of retraining, and of the jobs beside it; options of their own on the command line."""

from __future__ import annotations

import pytest

from wals_spark.errors import ConfigError
from wals_spark.settings.command_line import parse_settings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.publish import PublishSettings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.settings.train import Config

NEEDED = ("input.path=i", "output.path=o", "input.timestamp=at")


def settings(*more):
    return load_settings(RetrainSettings, None, [*NEEDED, *more])


def test_a_retraining_starts_from_what_is_served():
    training = settings("run.id=n1", "train.rank=7").training
    assert type(training) is Config
    assert (training.train.warm_start, training.train.align, training.train.rank) == ("served", "served", 7)
    assert not training.output.publish
    assert settings("train.warm_start=", "train.align=none").train.warm_start == ""


def test_nonnegative_factors_are_not_rotated():
    assert settings("train.nonnegative=true").train.align == "none"
    with pytest.raises(ConfigError, match=r"train\.align: rotated factors have negative entries"):
        settings("train.nonnegative=true", "train.align=served")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("data.rows=[2, 0.5]", "the least is not less than the most"),
        ("data.rows=0.5", "data.rows"),
        ("data.empty=wait", "data.empty"),
        ("gate.metric=ndcg", "gate.metric = ndcg: there is no such metric"),
        ("gate.relative=0", "gate.relative"),
        ("input.timestamp=", "input.timestamp is not set"),
        ("held_out.share=0.1", "held_out.share: a retraining holds its test out itself"),
        ("output.version=v", "called as its run"),
        ("retain.versions=1", "retain.versions"),
    ],
)
def test_what_has_no_meaning_is_refused(changed, words):
    with pytest.raises(ConfigError) as refused:
        settings(changed)
    assert words in str(refused.value)


def published(*arguments):
    return parse_settings(PublishSettings, "", ["--set", "model.path=m", *arguments])


def test_publishing_has_options_of_its_own():
    assert published("--rollback", "--to", "v1").publish.to == "v1"
    assert published("--verify").publish.verify == "served"
    assert published("--verify", "v2").publish.verify == "v2"
    forced = published("--version", "v3", "--force", "--why", "the test was wrong")
    assert (forced.model.version, forced.publish.force, forced.publish.why) == ("v3", True, "the test was wrong")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--rollback", "--version", "v"],
        ["--version", "v", "--force"],
        ["--to", "v"],
        ["--verify", "v", "--to", "w"],
    ],
)
def test_publishing_needs_one_thing_to_do(arguments):
    with pytest.raises(ConfigError):
        published(*arguments)
