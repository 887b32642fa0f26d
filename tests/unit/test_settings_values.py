from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.errors import ConfigError
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.search_space import Parameter
from wals_spark.settings.train import Config, load_config
from wals_spark.settings.tune import TuneSettings
from wals_spark.settings.values import conform, from_text, to_text

PATHS = ["input.path=in", "output.path=out"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_any_text_is_read_back_as_it_was_printed(text):
    assert from_text(to_text(text), str, "input.path") == text


@given(st.dictionaries(TEXTS, TEXTS))
def test_any_table_is_read_back_as_it_was_printed(table):
    assert from_text(to_text(table), dict[str, str], "input.options") == table


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.booleans() | TEXTS))
def test_any_list_is_read_back_as_it_was_printed(values):
    assert conform(to_text(values), tuple[int | bool | str, ...]) == values


@pytest.mark.parametrize(
    ("override", "options"),
    [
        ("input.options={}", {}),
        ('input.options={header="true",sep=";"}', {"header": "true", "sep": ";"}),
        ("input.options={ header = true, maxColumns = 9 }", {"header": "true", "maxColumns": "9"}),
        ("input.options.sep=;", {"header": "false", "sep": ";"}),
        ('input.options.sep="\\t"', {"header": "false", "sep": "\t"}),
        ('input.options.quote="', {"header": "false", "quote": '"'}),
    ],
)
def test_options_of_a_reader_are_set_at_once_or_one_by_one(tmp_path, override, options):
    (tmp_path / "train.toml").write_text("[input.options]\nheader = false\n")
    assert load_config(tmp_path / "train.toml", [*PATHS, override]).input.options == options


def test_a_table_that_is_none_is_refused_with_an_example():
    with pytest.raises(ConfigError, match=r"--set \'input\.options\' takes a table such as"):
        load_config(None, [*PATHS, "input.options=header"])


@pytest.mark.parametrize("text", ["10,20", "[10, 20]", " 10 , 20 ", "[10,20]"])
def test_a_list_has_brackets_or_not(text):
    settings = load_settings(EvaluateSettings, None, ["model.path=m", "test.path=t", f"evaluate.k={text}"])
    assert settings.evaluate.k == (10, 20)


@pytest.mark.parametrize("text", ["ndcg,recall", "[ndcg, recall]", '["ndcg", "recall"]', '"ndcg", "recall"'])
def test_a_list_of_names_has_quotes_or_not(text):
    settings = load_settings(EvaluateSettings, None, ["model.path=m", "test.path=t", f"evaluate.metrics={text}"])
    assert settings.evaluate.metrics == ("ndcg", "recall")


def test_an_optional_setting_can_be_set_back_to_none(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text('[train]\npreset = "implicit"\nuser_reg_param = 3.0\n')
    assert load_config(file, PATHS).confidence.base == 0.0
    config = load_config(file, [*PATHS, "confidence.base=none", "train.user_reg_param=none"])
    assert (config.confidence.base, config.train.user_reg_param) == (None, None)
    file.write_text('[train]\npreset = "implicit"\nitem_reg_param = "none"\n[confidence]\nbase = "none"\n')
    config = load_config(file, [*PATHS, "train.item_reg_param=2", "train.item_reg_param=none"])
    assert (config.confidence.base, config.train.item_reg_param) == (None, None)


def test_none_stays_a_name_where_it_is_a_choice():
    assert load_config(None, [*PATHS, "confidence.item_weight=none"]).confidence.item_weight == "none"
    with pytest.raises(ConfigError, match=r"train\.rank: a number, or auto, is needed"):
        load_config(None, [*PATHS, "train.rank=none"])


def test_a_search_space_can_be_typed_at_once():
    text = "tune.space={train={rank={choices=[2, 3]}}, confidence={base={choices=['none', 0.5]}}}"
    settings = load_settings(TuneSettings, None, [*PATHS, "test.path=t", text])
    assert settings.tune.parameters == {
        "confidence.base": Parameter(choices=("none", 0.5)),
        "train.rank": Parameter(choices=(2, 3)),
    }
    assert settings.of_trial({"confidence.base": "none"}).confidence.base is None


def test_quotes_are_taken_off_text_only():
    assert load_config(None, [*PATHS, "input.user='who'", 'input.item="what"']).input.user == "who"
    assert Config.of({"input.user": '"who"'}).input.user == '"who"'
