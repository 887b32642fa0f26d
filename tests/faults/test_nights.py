"""Nights of a model, of which many go wrong: each ends with the exit code of a table, and what is served stays good.

After every night (`Nights.assert_laws`): `CURRENT` names a version whose files are as they were written, its recall on
a fixed test is not below 0.95 of the best so far, and there are at most two versions more than are kept.
"""

from __future__ import annotations

import shutil
import signal
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from disks import memory
from night_world import DAY, START, Nights, Shop, files_with, flip_a_byte

from wals_spark.run.faults import NIGHT_POINTS
from wals_spark.settings.forget import ForgetSettings
from wals_spark.settings.loader import load_settings
from wals_spark.settings.publish import PublishSettings
from wals_spark.spark.nights.forget import run_forget
from wals_spark.spark.nights.publish import run_publish
from wals_spark.spark.session import open_session


@pytest.fixture(scope="module")
def spark():
    with open_session("wals_spark nights", local_master="local[2]") as session:
        session.conf.set("spark.sql.shuffle.partitions", "2")
        yield session


def huge_rating(rows):
    return rows.assign(rating=np.where(rows.index == 5, 1e30, rows["rating"]))


def truncated(rows):
    return rows.sample(frac=0.02, random_state=1)


def shuffled(rows):
    return rows.assign(item=rows["item"].sample(frac=1.0, random_state=1).to_numpy())


def milliseconds(rows):
    return rows.assign(at=np.where(rows.index == 5, 1000.0 * rows["at"], rows["at"]))


def one_item(rows):
    return rows.assign(item="item-000007")


def one_user(rows):
    return rows.assign(user=np.where(rows.index % 2, "user-000007", rows["user"]))


POISONS = (huge_rating, truncated, shuffled, milliseconds, one_item, one_user)


def without_day(rows, day):
    return rows[~rows["at"].between(START + day * DAY, START + (day + 1) * DAY)]


def other_schema(rows):
    return rows.assign(user=rows["user"].str[5:].astype("int64"))


class Calendar:
    """Nights in order: a name each, the data of the days so far, and what is expected."""

    def __init__(self, spark, folder, days, **options):
        self.spark, self.day = spark, 0
        self.nights = Nights(folder, Shop(days), **options)

    def night(self, expected, change=lambda rows: rows, *more, words="", name=""):
        """The next night, on changed data; its name."""
        name = name or self.next_name(change)
        code, error = self.nights.passes(self.spark, name, *more)
        assert code == expected, error
        assert words in error
        self.check(name, expected)
        return name

    def next_name(self, change=lambda rows: rows):
        """Write the data of another day; the name of its night."""
        self.nights.write(change(self.nights.shop.rows(self.day)))
        self.day += 1
        return f"n{self.day:02d}"

    def check(self, name, expected):
        assert self.nights.record(name)["exit_code"] == expected
        self.nights.assert_laws()

    def forget(self, users):
        path = self.nights.folder / "erased.parquet"
        pq.write_table(pa.table({"id": users}), path)
        settings = [f"model.path={self.nights.root}", f"forget.path={path}", "forget.why=asked for"]
        run_forget(self.spark, load_settings(ForgetSettings, None, settings))

    def publish(self, *settings):
        run_publish(self.spark, load_settings(PublishSettings, None, [f"model.path={self.nights.root}", *settings]))


@pytest.mark.slow
def test_a_week_of_nights(spark, tmp_path):
    week = Calendar(spark, tmp_path, 10)
    assert week.night(0) == week.nights.served
    second = week.night(0)
    assert second == week.nights.served
    week.night(3, shuffled, "data.max_merged_change=0", words="data.min_lift")
    week.night(4, lambda rows: rows, "gate.absolute=0.99", words="below gate.absolute")
    assert week.nights.served == second
    assert "n04" in week.nights.versions()  # the candidate is kept with its figures
    killed = week.next_name()
    assert week.nights.run(killed, "checkpoint.every=0", fault="half_iteration_3:kill").returncode == -signal.SIGKILL
    week.nights.assert_laws()
    assert week.night(0, name=killed) == week.nights.served
    week.publish("publish.rollback=true")
    assert week.nights.served == second
    week.forget(["user-000003", "user-000017"])
    assert files_with(week.nights.root, ["user-000003", "user-000017"]) == []
    assert week.nights.served == f"{second}-erased1"
    last = week.night(0, lambda rows: rows[~rows["user"].isin(["user-000003", "user-000017"])])
    assert files_with(week.nights.root, ["user-000003", "user-000017"]) == []
    assert last == week.nights.served
    assert [entry["action"] for entry in week.nights.history()][-3:] == ["rollback", "forget", "publish"]


@pytest.mark.exhaustive
def test_thirty_nights(spark, tmp_path):
    with memory(tmp_path / "disk", 300_000) as disk:
        _thirty_nights(Calendar(spark, disk, 40), disk)


def _thirty_nights(month, disk):
    nights = month.nights
    for _ in range(3):
        month.night(0)
    poisons = iter(POISONS)
    month.night(3, next(poisons), words="data.max_rating")
    month.night(0)
    _killed_night(month, "half_iteration_3")
    month.night(3, next(poisons), words="data.rows")
    month.night(0, partial(_late, month))
    month.night(3, next(poisons), words="data.max_merged_change")
    _empty_day(month)
    month.night(3, next(poisons), words="input.time_unit = milliseconds")
    month.night(3, lambda rows: without_day(rows, month.day - 3), words="data.min_day")
    month.night(0)
    month.night(3, other_schema, words="ids are of type bigint, those of the model of type string")
    month.night(3, next(poisons), words="data.max_item_share")
    month.night(0)
    month.night(3, next(poisons), words="data.max_user_share")
    _interrupted_night(month)
    _two_at_once(month)
    _full_disk(month, disk)
    _damaged_model(month)
    _rolled_back(month)
    _erased(month)
    _killed_night(month, "after_history")
    while month.day < 30:
        month.night(0)
    assert len(nights.qualities) > 10


def _killed_night(month, point):
    name = month.next_name()
    ended = month.nights.run(name, "checkpoint.every=0", fault=f"{point}:kill")
    assert ended.returncode == -signal.SIGKILL, ended.log
    month.nights.assert_laws()
    month.night(0, name=name)
    assert month.nights.served == name


def _late(month, rows):
    """A third of the rows of the day before arrives tonight."""
    late = rows["at"].between(START + (month.day - 2) * DAY, START + (month.day - 1) * DAY) & (rows.index % 3 == 0)
    month.nights.late = rows[late]
    return pd.concat([rows[~late], rows[late]])


def _empty_day(month):
    served = month.nights.served
    code, error = month.nights.passes(month.spark, "empty")  # the data of the night before, again
    assert code == 3, error
    month.day -= 1
    month.night(0)
    code, error = month.nights.passes(month.spark, "again", "data.empty=skip")
    assert (code, month.nights.record("again")["state"]) == (0, "skipped"), error
    assert month.nights.served != served


def _interrupted_night(month):
    name = month.next_name()
    ended = month.nights.run(name, fault="half_iteration_4:term")
    assert ended.returncode == 143, ended.log
    month.check(name, 143)
    month.night(0, name=name)


def _two_at_once(month):
    name = month.next_name()
    both = [month.nights.start(name) for _ in range(2)]
    codes = sorted(one.wait().returncode for one in both)
    assert codes in ([0, 5], [0, 0])
    month.check(name, 0)


def _full_disk(month, disk):
    name, filler = month.next_name(), disk / "filler"
    filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - 1_400_000))
    code, error = month.nights.passes(month.spark, name)
    assert code == 1, error
    filler.unlink()
    month.nights.assert_laws()
    month.night(0, name=name)


def _damaged_model(month):
    damaged = month.nights.served
    flip_a_byte(next((month.nights.root / "versions" / damaged / "item_factors").glob("*.parquet")))
    name = month.night(0)
    *_, rolled_back, published = month.nights.history()
    assert (rolled_back["action"], rolled_back["why"]) == ("rollback", f"{damaged} is damaged")
    assert (published["action"], month.nights.served) == ("publish", name)


def _rolled_back(month):
    before = month.nights.history()[-1]["before"]
    month.publish("publish.rollback=true", "publish.why=complaints")
    assert month.nights.served == before
    month.nights.assert_laws()
    month.night(0)


def _erased(month):
    users = ["user-000003", "user-000017"]
    month.forget(users)
    assert files_with(month.nights.root, users) == []
    month.nights.assert_laws()
    for day, rows in month.nights.shop.days.items():
        month.nights.shop.days[day] = rows[~rows["user"].isin(users)]
    month.night(0)
    assert files_with(month.nights.root, users) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("point", [*NIGHT_POINTS, "after_manifest", "after_history"])
def test_a_night_killed_anywhere_is_served_once(spark, tmp_path, point):
    """The same command again ends with the same version served, by one entry of the history."""
    month = Calendar(spark, tmp_path, 3)
    month.night(0)
    _killed_night(month, point)
    versions = [entry["version"] for entry in month.nights.history()]
    assert versions == ["n01", "n02"]
    assert month.nights.record("n02")["state"] == "published"
    assert [path.name for path in (month.nights.root / "runs/n02").iterdir()] == ["run.json"]
