from __future__ import annotations

import pytest

from wals_spark.errors import ConfigError
from wals_spark.spark.file_systems import TEMPORARY
from wals_spark.spark.storage import Storage, new_folder


@pytest.fixture
def storage(spark, tmp_path):
    return Storage(spark, str(tmp_path / "root"))


def test_text_is_written_replaced_and_read_whole(storage, tmp_path):
    for text in ("first ü\n", "second, and longer\n", ""):
        storage.replace(text, "versions", "a", "manifest.json")
        assert storage.read_text("versions", "a", "manifest.json") == text
    assert [path.name for path in (tmp_path / "root/versions/a").iterdir()] == ["manifest.json"]


def test_what_a_crash_leaves_is_not_read(storage, tmp_path):
    """What a crash leaves is the unfinished new file; the old one is still there, and the next write succeeds."""
    storage.replace("old", "CURRENT")
    (tmp_path / f"root/.CURRENT.1{TEMPORARY}").write_text("half of the n")
    assert storage.read_text("CURRENT") == "old"
    storage.replace("new", "CURRENT")
    assert (tmp_path / "root/CURRENT").read_text() == "new"


def test_existence_and_deletion(storage):
    assert not storage.exists("a")
    storage.replace("x", "a", "b", "c")
    assert storage.exists("a", "b")
    storage.delete_tree("a")
    storage.delete_tree("a")
    assert not storage.exists("a", "b", "c")


def test_a_relative_root_is_made_absolute(spark):
    assert Storage(spark, "models").path("x").endswith("/models/x")
    assert Storage(spark, "models").path("x").startswith("file:/")


def test_a_new_folder_appears_when_all_is_written(spark, tmp_path):
    (tmp_path / "out.unfinished").mkdir()  # a run that died
    (tmp_path / "out.unfinished/_wals_spark").write_text("")
    (tmp_path / "out.unfinished/half").write_text("")
    with new_folder(spark, str(tmp_path / "out")) as folder:
        folder.replace("x", "a", "b")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out/a").iterdir()] == ["b"]


def test_a_failed_new_folder_leaves_nothing(spark, tmp_path):
    def write_and_fail():
        with new_folder(spark, str(tmp_path / "out")) as folder:
            folder.replace("x", "a")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match=r"output\.path = .*/out' exists and stays"):
        write_and_fail()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
