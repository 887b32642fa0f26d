"""Configurations that nobody would write: each is taken, or refused in one line with exit code 2."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wals_spark.errors import ConfigError
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings

KINDS = (Config, EvaluateSettings, TuneSettings)
SECRET = "hunter2-of-the-data-lake"
NAMES = sorted({
    f"{section.name}.{field.name}"
    for kind in KINDS
    for section in msgspec.structs.fields(kind)
    for field in msgspec.structs.fields(section.type)
})  # fmt: skip

names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES).map(lambda name: name + ".x"), st.text(max_size=20))
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "none", "true", "-1", "0", "1e400", "nan", "[", "{a=", '"', "'''", "[1,", "{}", "[[[]]]"]
    ),
    st.integers().map(str),
    st.floats().map(str),
)
documents = st.one_of(
    st.text(max_size=80),
    st.binary(max_size=80),
    st.lists(st.tuples(st.sampled_from(NAMES), texts), max_size=5).map(
        lambda pairs: "\n".join(f"{name} = {value}" for name, value in pairs)
    ),
    st.integers(1, 3000).map(lambda depth: "input = " + "[" * depth + "]" * depth),
)


@settings(max_examples=300)
@given(st.sampled_from(KINDS), documents, st.lists(st.tuples(names, texts), max_size=4))
def test_a_configuration_is_taken_or_refused_in_a_line(tmp_path_factory, kind, document, overrides):
    file = tmp_path_factory.getbasetemp() / "fuzz.toml"
    file.write_bytes(document if isinstance(document, bytes) else document.encode("utf-8", "surrogatepass"))
    secret = f"input.options.api_key={SECRET}"
    try:
        outcome = repr(load_settings(kind, file, [secret, *(f"{name}={value}" for name, value in overrides)]))
    except ConfigError as error:
        outcome = str(error)
    assert outcome.isprintable()
    assert SECRET not in outcome


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("a = " + "[" * 9000 + "]" * 9000, "is nested too deeply"),
        ("[train]\nrank = 1\nrank = 2", "is not valid TOML"),
        ("\0", "is not valid TOML"),
        ('[train]\npreset = ["x"]', r"train\.preset: expected `str`, got `array`"),
        ('[input]\npath = "a\\u0000b"', r"input\.path = 'a\\x00b': text without the character NUL is needed"),
        ('[output]\nversion = "nl\\n"', r"output\.version: a name of at most 200 letters, digits"),
        ('[output]\nversion = "../x"', r"output\.version: a name of at most 200 letters, digits"),
    ],
)
def test_what_toml_cannot_mean_is_refused_by_name(tmp_path, document, message):
    file = tmp_path / "train.toml"
    file.write_text(document)
    with pytest.raises(ConfigError, match=message):
        load_settings(Config, file, ["input.path=i", "output.path=o"] if "path" not in document else ["output.path=o"])


@pytest.mark.parametrize("version", ["../../x", "nl\n", "a/b", ".", "-rf", "x" * 201])
def test_a_version_to_open_cannot_leave_its_folder(version):
    with pytest.raises(ConfigError, match=r"model\.version: a name"):
        EvaluateSettings.of({"model.version": version})


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_settings(Config, tmp_path)
