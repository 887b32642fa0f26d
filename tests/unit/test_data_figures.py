"""A night's data beside that of the last published runs."""

from __future__ import annotations

import msgspec
import pytest

from wals_spark.nights.data_figures import DataFigures, day_of, faults_of, has_nothing_new, read_figures
from wals_spark.settings.retrain import Data

DAY = 86400.0
NOW = 20_000 * DAY
USUAL = DataFigures(
    rows=100_000,
    users=5_000,
    items=1_000,
    dropped=0,
    merged_share=0.3,
    earliest=NOW - 100 * DAY,
    newest=NOW - 0.2 * DAY,
    user_share=0.002,
    item_share=0.01,
    ratings={"median": 2.0, "p90": 6.0, "most": 40.0},
    times={"p10": NOW - 90 * DAY, "median": NOW - 40 * DAY},
    days={day_of(NOW - n * DAY): 1000 for n in range(30)},
    known_users=0.99,
    known_items=0.99,
    served_lift=0.1,
    own_lift=0.1,
)
LAST = msgspec.structs.replace(USUAL, newest=NOW - 1.2 * DAY)


def with_changes(**changes):
    return msgspec.structs.replace(USUAL, **changes)


def test_a_usual_night_has_no_faults():
    assert faults_of(USUAL, [LAST], Data(), NOW) == []
    assert not has_nothing_new(USUAL, LAST)


@pytest.mark.parametrize(
    ("tonight", "setting", "figure"),
    [
        (with_changes(rows=2_000), "data.rows = [0.7, 2.0]", "0.02 times the 100,000"),
        (with_changes(rows=250_000), "data.rows", "2.5 times"),
        (with_changes(users=3_000), "data.users", "0.6 times"),
        (with_changes(items=100), "data.items", "0.1 times"),
        (with_changes(dropped=5_000), "data.max_dropped = 0.01", "4.76%"),
        (with_changes(merged_share=0.6), "data.max_merged_change = 0.2", "60.0%"),
        (with_changes(known_users=0.3), "data.min_known = 0.5", "30.0% of the rows are of users"),
        (with_changes(known_items=0.0), "data.min_known", "0.0% of the rows are of items"),
        (with_changes(newest=NOW - 4 * DAY), "data.max_age_hours = 72.0", "96.0 hours"),
        (with_changes(user_share=0.5), "data.max_user_share = 0.1", "50.0%"),
        (with_changes(item_share=1.0), "data.max_item_share = 0.25", "100.0%"),
        (with_changes(ratings={"median": 2.0, "p90": 6.0, "most": 1e30}), "data.max_rating = 100.0", "1e+30"),
        (with_changes(ratings={"median": 7.0, "p90": 6.0, "most": 40.0}), "data.max_rating_change = 3.0", "median"),
        (with_changes(ratings={"median": 2.0, "p90": 1.0, "most": 40.0}), "data.max_rating_change", "90 % quantile"),
        (with_changes(served_lift=0.04), "data.min_lift = 0.5", "0.0400 higher"),
        (with_changes(days={**USUAL.days, day_of(NOW - 3 * DAY): 0}), "data.min_day = 0.5", "0 of 1,000"),
    ],
)
def test_a_fault_names_its_figure_and_its_setting(tonight, setting, figure):
    (fault,) = faults_of(tonight, [LAST], Data(), NOW)
    assert setting in fault
    assert figure in fault


@pytest.mark.parametrize(
    "limits",
    [
        {"max_user_share": 0.0, "max_item_share": 0.0},
        {"max_age_hours": 0.0, "max_rating": 0.0, "max_rating_change": 0.0},
    ],
)
def test_a_limit_of_zero_is_none(limits):
    odd = {"max_user_share": {"user_share": 1.0, "item_share": 1.0}}.get(
        next(iter(limits)), {"newest": 0.0, "ratings": {"median": 1e9, "p90": 1e9, "most": 1e9}}
    )
    assert faults_of(with_changes(**odd), [LAST], msgspec.structs.replace(Data(), **limits), NOW) == []


def test_the_first_night_is_compared_with_nothing():
    assert faults_of(with_changes(rows=3, known_users=None, known_items=None), [], Data(), NOW) == []


def test_counts_are_compared_with_the_median_of_several_nights():
    odd = msgspec.structs.replace(LAST, rows=300_000)
    usual = [msgspec.structs.replace(LAST, rows=rows) for rows in (98_000, 99_000)]
    assert faults_of(USUAL, [odd, *usual], Data(), NOW) == []


def test_late_rows_of_earlier_days_are_welcome():
    late = with_changes(days={day: rows + 400 for day, rows in USUAL.days.items()})
    assert faults_of(late, [LAST], Data(), NOW) == []


def test_days_before_a_moving_window_are_not_compared():
    moved = with_changes(days=dict(list(USUAL.days.items())[:10]))
    assert faults_of(moved, [LAST], Data(), NOW) == []


def test_no_newer_row_is_nothing_new():
    assert has_nothing_new(LAST, LAST)
    assert not has_nothing_new(LAST, None)


def test_figures_are_read_from_a_manifest():
    assert read_figures({"data": USUAL.as_record()}) == USUAL
    assert read_figures({"counts": {}}) is None
