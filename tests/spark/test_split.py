from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from wals_spark.errors import ConfigError, InputError
from wals_spark.settings.split import SplitOptions
from wals_spark.spark.split import last_share_begins, split, write_parts

KINDS = [
    SplitOptions(by="time", share=0.3),
    SplitOptions(by="last", n=2),
    SplitOptions(by="random", share=0.25, keep=2),
    SplitOptions(by="users", share=0.4, fold_in_share=0.75),
]


@pytest.fixture(scope="module")
def rows():
    """Users with 1 to 30 rows, some of them of one pair and of one time."""
    rng = np.random.default_rng(0)
    return [
        (f"u{user}", int(item), float(rng.integers(1, 6)), float(rng.integers(50)))
        for user in range(40)
        for item in rng.integers(20, size=rng.integers(1, 31))
    ]


@pytest.fixture
def parts_of(spark, rows):
    """All rows in an order and a partitioning of choice, split: {part: rows}."""

    def run(options, order=1, partitions=1):
        table = spark.createDataFrame(rows[::order], "user string, item bigint, rating double, timestamp double")
        found = defaultdict(list)
        for *row, part in split(table.repartition(partitions), options).collect():
            found[part].append(tuple(row))
        return found

    return run


def by_user(rows):
    """Each user's items, those of the latest row last; the larger item is the later one of two."""
    latest = defaultdict(dict)
    for user, item, _, time in rows:
        latest[user][item] = max(time, latest[user].get(item, 0))
    return {user: sorted(items, key=lambda i: (items[i], i)) for user, items in latest.items()}


@pytest.mark.parametrize("options", KINDS, ids=lambda options: options.by)
def test_no_row_is_lost_or_doubled_whatever_the_partitioning(rows, parts_of, options):
    parts = parts_of(options)
    assert Counter(row for part in parts.values() for row in part) == Counter(rows)
    again = parts_of(options, order=-1, partitions=7)
    assert {name: Counter(part) for name, part in again.items()} == {n: Counter(part) for n, part in parts.items()}
    pairs = {name: {row[:2] for row in part} for name, part in parts.items()}
    if options.by == "time":
        assert max(row[3] for row in parts["train"]) < min(row[3] for row in parts["test"])
        assert 0.25 * len(rows) < len(parts["test"]) <= 0.3 * len(rows)
    else:
        assert not pairs["test"] & (pairs["train"] | pairs.get("fold_in", set()))


def test_the_last_items_of_each_user_are_the_test_and_one_stays(rows, parts_of):
    test = {(user, item) for user, item, *_ in parts_of(SplitOptions(by="last", n=2))["test"]}
    expected = {(user, item) for user, items in by_user(rows).items() for item in items[max(1, len(items) - 2) :]}
    assert test == expected


def test_each_user_gives_a_random_share(rows, parts_of):
    tests = [by_user(parts_of(SplitOptions(by="random", share=0.25, keep=2, seed=seed))["test"]) for seed in (0, 1)]
    for user, items in by_user(rows).items():
        wanted = max(0, min(len(items) - 2, int(0.25 * len(items) + 0.5)))
        assert [len(test.get(user, ())) for test in tests] == [wanted, wanted]
    assert tests[0] != tests[1]


def test_held_out_users_are_not_trained_on(rows, parts_of):
    parts = {name: by_user(part) for name, part in parts_of(KINDS[3]).items()}
    assert not set(parts["train"]) & (set(parts["fold_in"]) | set(parts["test"]))
    assert 8 <= len(parts["fold_in"]) <= 24  # 40 % of 40 users
    for user, folded in parts["fold_in"].items():
        n = len(by_user(rows)[user])
        assert n - len(folded) == max(0, min(n - 1, int(0.25 * n + 0.5))) == len(parts["test"].get(user, ()))


def test_the_last_share_begins_where_a_sort_says(spark):
    rng = np.random.default_rng(1)
    times = np.concatenate([rng.integers(0, 40, 300), 1e9 + rng.random(300), [2e9]])
    begins = last_share_begins(spark.createDataFrame([(float(t),) for t in times], "timestamp double"), 0.2)
    assert begins == min(t for t in times if (times >= t).sum() <= 0.2 * len(times))
    with pytest.raises(InputError, match="the last moment, 5 seconds since 1970, alone holds more of the 3 rows"):
        last_share_begins(spark.createDataFrame([(5.0,)] * 3, "timestamp double"), 0.2)


def test_parts_are_written_all_or_none(spark, rows, tmp_path):
    table = spark.createDataFrame(rows, "user string, item bigint, rating double, timestamp double")
    written = write_parts(spark, split(table, KINDS[3]), str(tmp_path / "out"))
    assert [part.name for part in written] == ["train", "fold_in", "test"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fold_in", "test", "train"]
    read = [spark.read.parquet(str(tmp_path / "out" / part.name)) for part in written]
    assert [part.count() for part in read] == [part.rows for part in written]
    assert read[0].columns == table.columns
    with pytest.raises(ConfigError, match="exists and stays"):
        write_parts(spark, split(table, KINDS[0]), str(tmp_path / "out"))
    with pytest.raises(InputError, match="nothing is left for test of"):
        write_parts(spark, split(table, SplitOptions(by="last", keep=99)), str(tmp_path / "none"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
