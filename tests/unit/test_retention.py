"""Which versions of a retrained model are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wals_spark.nights.retention import versions_to_remove
from wals_spark.run.history import HistoryEntry, number_of, read_entry, served_versions
from wals_spark.settings.retrain import Retain

AT_ONCE = Retain(versions=3, grace_hours=0.0)
NAMES = [f"n{number:02d}" for number in range(20)]


def removed(served, candidates=(), retain=AT_ONCE, anchor="", hours=None):
    return versions_to_remove(
        served, candidates, retain, anchor=anchor, hours_since_served=hours or dict.fromkeys(served, 1000.0)
    )


def test_the_newest_are_kept():
    assert removed(["e", "d", "c", "b", "a"]) == ["b", "a"]


def test_the_best_so_far_is_kept_if_there_is_room():
    assert removed(["e", "d", "c", "b", "a"], anchor="a") == ["c", "b"]
    assert removed(["e", "d", "c"], anchor="c", retain=Retain(versions=2, grace_hours=0.0)) == ["c"]


def test_a_version_that_may_still_be_read_stays():
    hours = {"d": 1.0, "c": 30.0, "b": 20.0, "a": 90.0}
    assert removed(["e", "d", "c", "b", "a"], retain=Retain(versions=2), hours=hours) == ["c", "a"]


def test_of_refused_candidates_the_last_is_kept():
    assert removed(["a"], ["y", "x", "w"]) == ["x", "w"]


@given(
    served=st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    kept=st.integers(2, 6),
    anchor=st.sampled_from(NAMES),
)
def test_served_and_the_one_before_never_go(served, kept, anchor):
    gone = removed(served, retain=Retain(versions=kept, grace_hours=0.0), anchor=anchor)
    assert not {*served[:2]} & {*gone}
    assert len(served) - len(gone) == min(len(served), kept)


def entry(number, version, before="", **fields):
    return HistoryEntry(number=number, action="publish", version=version, before=before, **fields)


def test_served_versions_go_back_in_time_each_once():
    entries = [entry(3, "a", "b"), entry(1, "a"), entry(2, "b", "a")]
    assert served_versions(entries) == ["a", "b"]


def test_served_versions_have_their_present_names():
    entries = [
        entry(1, "a"),
        entry(2, "b", "a"),
        entry(3, "b-erased1", "b", renamed={"a": "a-erased1", "b": "b-erased1"}),
        entry(4, "c", "b-erased1"),
        entry(5, "c-erased1", "c", renamed={"c": "c-erased1", "a-erased1": "a-erased2"}),
    ]
    assert served_versions(entries) == ["c-erased1", "b-erased1", "a-erased2"]


def test_an_entry_is_read_as_it_was_written():
    written = entry(7, "v", "u", why="because", renamed={"x": "y"})
    assert read_entry(written.as_json(), "here") == written
    assert written.file == "00000007.json"
    assert number_of(written.file) == 7
    assert number_of("00000007.json.new") is None
    assert number_of("notes.txt") is None
