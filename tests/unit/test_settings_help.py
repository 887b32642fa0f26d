from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest

from wals_spark.errors import ConfigError
from wals_spark.objective.objective import ConfidenceFunction
from wals_spark.objective.presets import PRESETS
from wals_spark.settings.command_line import parse_settings
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.export import ExportSettings
from wals_spark.settings.fold_in import FoldInSettings
from wals_spark.settings.forget import ForgetSettings
from wals_spark.settings.help import describe_settings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.publish import PublishSettings
from wals_spark.settings.recommend import RecommendSettings
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.settings.split import SplitSettings
from wals_spark.settings.status import StatusSettings
from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings

JOBS = {  # each with settings without which it does not run
    Config: ("input.path=i", "output.path=o"),
    SplitSettings: ("input.path=i", "output.path=o", "input.timestamp=at"),
    EvaluateSettings: ("model.path=m", "test.path=t"),
    TuneSettings: ("input.path=i", "test.path=t", "output.path=o", "tune.space.train.rank={choices=[2, 3]}"),
    RecommendSettings: ("model.path=m", "output.path=o", "input.path=i"),
    FoldInSettings: ("model.path=m", "input.path=i"),
    ExportSettings: ("model.path=m", "output.path=o"),
    RetrainSettings: ("input.path=i", "output.path=o", "input.timestamp=at"),
    PublishSettings: ("model.path=m", "publish.rollback=true"),
    ForgetSettings: ("model.path=m", "forget.path=i"),
    StatusSettings: ("model.path=m",),
}


def printed_defaults(kind):
    return re.findall(r"^  (\w+[\w.]+) = (.*)$", describe_settings(kind), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "name", "default"), [(kind, *line) for kind in JOBS for line in printed_defaults(kind)]
)
def test_a_default_that_help_prints_can_be_typed_back(kind, name, default):
    """As it is printed, spaces and all, and without spaces; before the settings without which the job does not run."""
    usual = load_settings(kind, None, JOBS[kind])
    for override in (f"{name} = {default}", f"{name}={default}"):
        assert load_settings(kind, None, [override, *JOBS[kind]]) == usual


@pytest.mark.parametrize("kind", JOBS)
def test_help_names_every_setting_that_a_job_takes(kind):
    settings = set(names_of_settings(kind().as_dict()))
    assert {name for name, _ in printed_defaults(kind)} == settings - set(kind.unused)


def names_of_settings(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:  # options are an empty table
            yield from names_of_settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("kind", [FoldInSettings, TuneSettings])
def test_a_setting_that_a_job_does_not_use_is_refused(kind):
    for name, reason in kind.unused.items():
        with pytest.raises(ConfigError, match=f"{re.escape(name)}: {reason}"):
            load_settings(kind, None, [*JOBS[kind], f"{name}=sum"])


def test_help_lists_presets_choices_and_a_reader_option():
    text = describe_settings(Config)
    assert f'One of "", {", ".join(PRESETS)}.' in text
    assert f"One of {', '.join(get_args(ConfidenceFunction))}." in text
    assert "--set 'input.options.sep= '" in text


def test_the_help_of_a_job_is_wrapped_and_has_exit_codes(capsys):
    with pytest.raises(SystemExit):
        parse_settings(Config, "Train.", ["--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) < 120
    assert (
        "exit codes: 0 done, 1 unexpected (a retry may help), 2 configuration refused, 3 input or model refused" in text
    )
    assert all(f"  {name} = {default}\n" in text for name, default in printed_defaults(Config))


def test_every_choice_of_a_setting_is_accepted():
    for section in msgspec.structs.fields(Config):
        for name, choices in re.findall(
            rf"^  ({section.name}\.\w+) = .*\n.*One of (.*)\.$", describe_settings(Config), flags=re.MULTILINE
        ):
            for choice in choices.split(", "):
                if name == "held_out.nonpositive" and choice not in ("bad", "unobserved"):
                    continue  # a disliked item is not one to find
                needed = {"last": ("input.timestamp=at",), "best": ("held_out.share=0.1",)}.get(choice, ())
                assert load_settings(Config, None, [*JOBS[Config], *needed, f"{name}={choice}"])
