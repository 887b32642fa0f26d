from __future__ import annotations

import json

import pytest

from wals_spark.errors import ConfigError
from wals_spark.settings.reader_options import resolved_options
from wals_spark.settings.train import Config, load_config

PATHS = ["input.path=i", "output.path=o"]


def options_of(*overrides):
    return load_config(None, [*PATHS, *overrides]).input.options


@pytest.mark.parametrize(
    ("override", "value"),
    [("sep= ", " "), ("sep=\t", "\t"), ("sep=\\t", "\\t"), ('sep="\\t"', "\t"), ("sep=", ""), ("sep = ;", ";")],
)
def test_a_separator_is_taken_as_it_is_typed(override, value):
    assert options_of(f"input.options.{override}") == {"sep": value}


def test_a_column_name_keeps_its_blanks():
    assert load_config(None, [*PATHS, "input.item= item", "input.user=user "]).input.item == " item"


def test_the_key_of_an_option_may_have_dots():
    assert options_of("input.options.parquet.page.size=1") == {"parquet.page.size": "1"}


def test_booleans_and_numbers_are_options(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text("[input]\noptions = { header = true, maxColumns = 3, samplingRatio = 0.5 }\n")
    expected = {"header": "true", "maxColumns": "3", "samplingRatio": "0.5"}
    assert load_config(file, PATHS).input.options == expected
    assert (
        Config.of({"input.options": {"header": True, "maxColumns": 3, "samplingRatio": 0.5}}).input.options == expected
    )
    assert options_of("input.options={header = true, maxColumns = 3, samplingRatio = 0.5}") == expected


def test_an_option_that_is_no_text_is_refused_by_its_key():
    with pytest.raises(ConfigError, match=r"input\.options\.days: expected `str`, got `array`"):
        options_of("input.options={header = true, days = [1, 2]}")


SECRETS = (
    "url", "password", "dbpassword", "api_key", "apikey", "sas", "token", "pem_private_key", "secret", "accessKey",
    "fs.s3a.secret.key", "fs.azure.sas.token", "sfPassword", "credentials", "user", "query", "dbtable", "proxy", "auth",
)  # fmt: skip


def test_values_of_options_are_shown_by_an_allow_list_of_names():
    config = Config.of({"input.options": {"header": "true", "SEP": ";", **{name: f"hush {name}" for name in SECRETS}}})
    shown = config.shown()["input"]["options"]
    assert shown == {"header": "true", "SEP": ";", **dict.fromkeys(SECRETS, "(hidden)")}
    for text in (json.dumps(config.shown()), repr(config), repr(config.input)):
        assert "hush" not in text
    assert "hush" not in str(ConfigError(f"Spark says: {config.input.options}"))


def test_values_come_from_the_environment_or_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WALS_TEST_KEY", "from the environment")
    (tmp_path / "key").write_text("from a file\n")
    written = {"a": "env:WALS_TEST_KEY", "b": f"file:{tmp_path}/key", "sep": ";"}
    assert resolved_options(written, "input.options") == {"a": "from the environment", "b": "from a file", "sep": ";"}
    assert Config.of({"input.options": written}).shown()["input"]["options"] == written
    assert str(ConfigError("from a file, from the environment")) == "(hidden), (hidden)"


@pytest.mark.parametrize("value", ["env:WALS_NO_SUCH", "file:/no/such/file", "file:/", "file:\0"])
def test_a_value_that_is_not_there_is_refused_by_its_option(value):
    with pytest.raises(ConfigError, match=r"input\.options\.key = '(env|file):"):
        resolved_options({"key": value}, "input.options")
