from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wals_spark.errors import ConfigError
from wals_spark.messages import keep_secret, listed, quoted, redacted


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (" item", "' item'"),
        ("it's", '"it\'s"'),
        ("\\N", "'\\N'"),
        ("a\nerror: b", "'a\\nerror: b'"),
        ("\x1b[2J\u202e", "'\\x1b[2J\\u202e'"),
        ("Zoë", "'Zoë'"),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_a_name_is_shown_in_quotes_and_cannot_forge_a_line(name, shown):
    assert quoted(name) == shown


def test_only_the_first_of_many_names_are_listed():
    assert listed(["a", " b"]) == "'a', ' b'"
    assert listed(range(30), most=2) == "'0', '1' and 28 more"


@given(st.text())
def test_an_error_is_one_printable_line(text):
    message = str(ConfigError(text))
    assert message.isprintable()
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no s3a://KEY:SECRET@bucket/plays here", "no s3a://bucket/plays here"),
        ("'https://x.net/y?sas=SECRET&b=1'", "'https://x.net/y?(hidden)'"),
        ("jdbc:postgresql://me:SECRET@db/plays?password=SECRET.", "jdbc:postgresql://db/plays?(hidden)"),
        ("jdbc:sqlserver://db;user=me;password=SECRET", "jdbc:sqlserver://db;(hidden)"),
        ("file:///tmp/a@b/c", "file:///tmp/a@b/c"),
        ("what? a@b.c // d@e", "what? a@b.c // d@e"),
    ],
)
def test_urls_lose_user_info_and_query(text, shown):
    assert redacted(text) == shown


def test_a_secret_is_in_no_error_and_no_log_line(caplog):
    keep_secret(["correct horse", "x"])
    assert str(ConfigError("the key is correct horse, x")) == "the key is (hidden), x"
    with caplog.at_level(logging.INFO, "wals_spark"):
        logging.getLogger("wals_spark").info("key %s\n%s", "correct horse", "\x07")
    assert caplog.messages == ["key (hidden)\\n\\x07"]
