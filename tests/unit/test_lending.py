"""A borrowed setting goes back to what it was found at, in whatever order its borrowers end."""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

from wals_spark.spark.lending import lent


class Setting:
    def __init__(self, value: str) -> None:
        self.value = value
        self.key = (id(self), "rows")

    def lend(self, value: str) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(lent(self.key, value, lambda: self.value, lambda v: setattr(self, "value", v)))
        return stack


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_borrowers_may_end_in_any_order(order):
    setting = Setting("the user's")
    living = {value: setting.lend(value) for value in "abc"}
    for value in order:
        living.pop(value).close()
        assert setting.value == next(reversed(living), "the user's")


def test_a_value_set_under_a_loan_is_given_back():
    setting = Setting("at first")
    outer = setting.lend("of the session")
    setting.value = "the user's"
    setting.lend("of a fit").close()
    assert setting.value == "the user's"
    outer.close()
    assert setting.value == "at first"
