"""Storage keeps its promises on local files, on a file system with a rename of Hadoop's, and on an object store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import object_stores
import pytest

from wals_spark.errors import ConfigError
from wals_spark.spark.file_systems import TEMPORARY, LocalFiles, NameNode, ObjectStore
from wals_spark.spark.storage import Storage, new_folder

MOUNTED = "viewfs://mounted"  # Hadoop's file system of mounts: it has a FileContext, as HDFS has
ROOTS = {"local": (LocalFiles, "{}"), "mounted": (NameNode, f"{MOUNTED}/root"), "objects": (ObjectStore, "{}")}


@pytest.fixture(scope="module")
def object_store(_session, tmp_path_factory):
    """The session can open `object_stores.BUCKET`; yields a function that chooses its kind."""
    jvm, conf = _session._jvm, _session.sparkContext._jsc.hadoopConfiguration()
    classes = object_stores.compiled(tmp_path_factory.mktemp("classes"))
    urls = _session.sparkContext._gateway.new_array(jvm.java.net.URL, 1)
    urls[0] = jvm.java.io.File(str(classes)).toURI().toURL()
    conf.setClassLoader(jvm.java.net.URLClassLoader(urls, conf.getClassLoader()))
    conf.set("fs.objects.impl.disable.cache", "true")

    def choose(*, conditional):
        settings = object_stores.hadoop_settings(tmp_path_factory.mktemp("store"), conditional=conditional)
        for name, value in settings.items():
            conf.set(name, value)
        return object_stores.BUCKET

    return choose


@pytest.fixture(params=ROOTS)
def storage(spark, tmp_path, request):
    kind, root = ROOTS[request.param]
    if request.param == "objects":
        root = f"{request.getfixturevalue('object_store')(conditional=True)}/root"
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    (tmp_path / "root").mkdir()
    conf.set("fs.viewfs.mounttable.mounted.link./root", (tmp_path / "root").as_uri())
    conf.set("fs.viewfs.impl.disable.cache", "true")
    storage = Storage(spark, root.format(tmp_path / "root"))
    assert isinstance(storage._system, kind)
    return storage


def test_text_is_written_replaced_and_read_whole(storage):
    for text in ("first ü\n", "second, and longer\n", ""):
        storage.replace(text, "versions", "a", "manifest.json")
        assert storage.read_text("versions", "a", "manifest.json") == text
    assert storage.names("versions", "a") == ["manifest.json"]


def test_one_of_several_creates_a_file(storage):
    assert storage.decides("leases", ".probe")
    for race in range(20):
        # Below the mounts are Hadoop's local files, which look and then create: there, one after the other.
        with ThreadPoolExecutor(1 if isinstance(storage._system, NameNode) else 4) as threads:
            told = [*threads.map(lambda text: storage.create_new(text, "leases", str(race)), "abcd")]  # noqa: B023
        assert told.count(True) == 1
        assert storage.read_text("leases", str(race)) == "abcd"[told.index(True)]
    assert not storage.create_new("e", "leases", "0")
    assert storage.names("leases") == sorted(map(str, range(20)))


def test_files_are_listed_with_their_sizes(storage):
    assert storage.list_files("a") == {}
    storage.replace("four", "a", "x")
    storage.replace("", "a", "b", "c d")
    storage.replace("z", "b")
    assert storage.list_files("a") == {"b/c d": 0, "x": 4}
    assert storage.list_files("a", "b") == {"c d": 0}


def test_a_tree_is_deleted(storage):
    assert not storage.exists("a")
    storage.replace("x", "a", "b", "c")
    storage.replace("x", "ab")
    assert storage.exists("a", "b")
    storage.delete_tree("a")
    storage.delete_tree("a")
    assert not storage.exists("a", "b", "c")
    assert storage.names() == ["ab"]
    storage.force()


def test_an_object_store_without_conditional_puts_cannot_decide(spark, object_store):
    storage = Storage(spark, f"{object_store(conditional=False)}/root")
    assert not storage.decides("leases", ".probe")
    assert not storage.exists("leases")


def test_what_a_crash_leaves_is_not_read(spark, tmp_path):
    """What a crash leaves is the unfinished new file; the old one is still there, and the next write succeeds."""
    storage = Storage(spark, str(tmp_path / "root"))
    storage.replace("old", "CURRENT")
    (tmp_path / f"root/.CURRENT.1{TEMPORARY}").write_text("half of the n")
    assert storage.read_text("CURRENT") == "old"
    storage.replace("new", "CURRENT")
    assert (tmp_path / "root/CURRENT").read_text() == "new"


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


def test_a_new_folder_of_objects_is_marked_until_all_is_written(spark, object_store):
    path = f"{object_store(conditional=True)}/out"
    Storage(spark, path).replace("", "_wals_spark")  # a run that died
    Storage(spark, path).replace("x", "half")
    with new_folder(spark, path) as folder:
        folder.replace("x", "a", "b")
        assert folder.exists("_wals_spark")
        assert not folder.exists("half")
    assert folder.list_files() == {"a/b": 1}
    with pytest.raises(ConfigError, match=r"output\.path = .*/out' exists and stays"), new_folder(spark, path):
        pass


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
