"""Small files and new folders on any storage that Spark can reach, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError
from wals_spark.messages import quoted
from wals_spark.spark.causes import JAVA_ERRORS, STORAGE_ERRORS, Causes, raise_as_refused
from wals_spark.spark.file_systems import file_system_of

CURRENT = "CURRENT"  # below the root: the name of the served version
MANIFEST, EVENTS, GRAMIANS = "manifest.json", "events.jsonl", "gramians.json"  # in a version's folder
MARK = "_wals_spark"  # in a folder that is being written: it is ours, and may be deleted
REPORT = "report.html"  # there, too, and in a search's


class Storage:
    """A folder seen through Hadoop's file systems, so that no client of our own is needed for any of them.

    Raises
    ------
    ConfigError
        If Spark has no file system for ``root``.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        jvm = spark.sparkContext._jvm
        assert jvm is not None  # a classic session always has one
        self.spark = spark
        self._jvm: Any = jvm
        self._conf: Any = spark.sparkContext._jsc.hadoopConfiguration()
        try:
            path = self._jvm.org.apache.hadoop.fs.Path(root)
            self._fs: Any = path.getFileSystem(self._conf)
        except JAVA_ERRORS as error:
            raise ConfigError(f"there is no storage at {quoted(root)}: {Causes(error)}") from error
        if str(self._fs.getUri().getScheme()) == "file":
            self._fs = self._fs.getRawFileSystem()  # local files without a .crc beside each
        self._system = file_system_of(spark.sparkContext._gateway, self._conf, self._fs)
        self.root: str = self._fs.makeQualified(path).toString()

    def path(self, *parts: str) -> str:
        """The full name of something below the root."""
        return "/".join((self.root.rstrip("/"), *parts))

    def exists(self, *parts: str) -> bool:
        """Whether there is a file or a folder."""
        return bool(self._fs.exists(self._path(*parts)))

    def names(self, *parts: str) -> list[str]:
        """The names of the files and folders in a folder; none if it is not there."""
        if not self.exists(*parts):
            return []
        return sorted(str(status.getPath().getName()) for status in self._fs.listStatus(self._path(*parts)))

    def list_files(self, *parts: str) -> dict[str, int]:
        """The sizes in bytes of all files below a folder, by their path in it; none if it is not there."""
        if not self.exists(*parts):
            return {}
        folder, sizes = self._path(*parts), {}
        files = self._fs.listFiles(folder, True)
        while files.hasNext():
            status = files.next()
            sizes[_below(str(folder), str(status.getPath().toString()))] = int(status.getLen())
        return dict(sorted(sizes.items()))

    def read_text(self, *parts: str) -> str:
        """All of a small text file."""
        stream = self._fs.open(self._path(*parts))
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def replace(self, text: str, *parts: str) -> None:
        """Write a small text file in one step: a reader sees the old text or the new one, never a part, or none."""
        self.replace_bytes(text.encode("utf-8"), *parts)

    def replace_bytes(self, content: bytes, *parts: str) -> None:
        """Write a small file in one step, as `replace`; it passes through the driver."""
        self._system.replace(self._path(*parts), content)

    def create_new(self, text: str, *parts: str) -> bool:
        """Write a small text file if there is none; of several processes that do, exactly one is told True."""
        return self._system.create_new(self._path(*parts), text.encode("utf-8"))

    def decides(self, *parts: str) -> bool:
        """Whether `create_new` keeps its promise here, which some object stores cannot; tries with a file."""
        return self._system.decides(self._path(*parts))

    def force(self, *parts: str) -> None:
        """Have a folder and all below it survive a loss of power."""
        self._system.force(self._path(*parts))

    @property
    def renames(self) -> bool:
        """Whether a folder is moved in one step; an object store copies it, object by object."""
        return self._system.renames

    def move(self, source: str, target: str) -> None:
        """Give a folder another name, both in full; nothing may be there.

        Raises
        ------
        OSError
            If the file system refuses.
        """
        origin, destination = (self._jvm.org.apache.hadoop.fs.Path(path) for path in (source, target))
        if self._fs.exists(destination) or not self._fs.rename(origin, destination):
            raise OSError(f"{source} cannot be moved to {target}")

    def copy(self, source: str, *parts: str) -> None:
        """Copy a file or a folder, by full name and from any storage, to a place below the root, byte for byte."""
        origin = self._jvm.org.apache.hadoop.fs.Path(source)
        files = self._jvm.org.apache.hadoop.fs.FileUtil
        files.copy(origin.getFileSystem(self._conf), origin, self._fs, self._path(*parts), False, self._conf)

    def ancestors(self, *parts: str) -> list[str]:
        """The full names of all folders from the top of the storage to a folder, this one included."""
        folder, folders = self._path(*parts), []
        while folder is not None:
            folders.append(str(folder.toString()))
            folder = folder.getParent()
        return folders[::-1]

    def exists_at(self, path: str) -> bool:
        """Whether there is a file or a folder of this full name."""
        return bool(self._fs.exists(self._jvm.org.apache.hadoop.fs.Path(path)))

    def delete_empty(self, path: str) -> None:
        """Remove a folder by its full name, if nothing is in it."""
        folder = self._jvm.org.apache.hadoop.fs.Path(path)
        if self._fs.exists(folder) and not self._fs.listStatus(folder):
            self._fs.delete(folder, False)

    def delete_tree(self, *parts: str) -> None:
        """Remove a file or a folder with all below it; fine if it is not there."""
        self._fs.delete(self._path(*parts), True)

    def _path(self, *parts: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self.path(*parts))


@contextmanager
def written_or_nothing(
    storage: Storage, *parts: str, errors: tuple[type[BaseException], ...] = (BaseException,)
) -> Iterator[None]:
    """Make a folder below the root; on one of these errors it goes, and so do the folders above that were made for it.

    Raises
    ------
    ConfigError
        If the folder cannot be written: before the body of the ``with``.
    """
    made = [path for path in storage.ancestors(*parts) if not storage.exists_at(path)]
    try:
        storage.replace("", *parts, MARK)
    except STORAGE_ERRORS as error:
        _delete_empty(storage, made)
        raise_as_refused(error, f"{quoted(storage.path(*parts))} cannot be written")
    try:
        yield
    except errors:
        with suppress(*STORAGE_ERRORS):  # the first error is the one to read
            storage.delete_tree(*parts)
            _delete_empty(storage, made)
        raise


def _delete_empty(storage: Storage, folders: list[str]) -> None:
    for folder in reversed(folders):
        storage.delete_empty(folder)


@contextmanager
def new_folder(spark: SparkSession, path: str, *, setting: str = "output.path") -> Iterator[Storage]:
    """Yield a folder to write to, which becomes ``path`` when all is written; if that fails, nothing is there.

    An object store cannot give a folder another name: there, what is written appears in ``path`` file by file, beside
    the file `MARK` until all is written.

    Raises
    ------
    ConfigError
        If something is at ``path``, which ``setting`` names, or it cannot be written, or something that is not of this
        package is where the folder is made.
    """
    target = Storage(spark, path)
    named = f"{setting} = {quoted(path)}"
    if not target.renames:
        if not target.exists(MARK):
            _refuse_existing(target, named)
        target.delete_tree()  # what a run that died has left
        with written_or_nothing(target):
            yield target
            target.delete_tree(MARK)
        return
    unfinished = Storage(spark, f"{target.path()}.unfinished")
    _refuse_existing(target, named)
    _clear(unfinished, named)
    with written_or_nothing(unfinished):
        folder = Storage(spark, unfinished.path("new"))
        yield folder
        folder.move(folder.path(), target.path())
    unfinished.delete_tree()


def _refuse_existing(target: Storage, named: str) -> None:
    try:
        if target.exists():
            raise ConfigError(f"{named} exists and stays: name another folder, or remove this one")
    except JAVA_ERRORS as error:
        raise ConfigError(f"{named} cannot be opened: {Causes(error)}") from error


def _clear(unfinished: Storage, named: str) -> None:
    """Delete what a run that died has left."""
    if not unfinished.exists():
        return
    if not unfinished.exists(MARK):
        raise ConfigError(
            f"{named}: {quoted(unfinished.root)} is in the way and stays: it is not of wals_spark; move it, "
            "or name another folder"
        )
    unfinished.delete_tree()


def _below(folder: str, path: str) -> str:
    """The path below a folder, both in full; a local one may have one slash after its scheme, or three."""
    return path.rpartition(folder.partition(":")[2].lstrip("/"))[2].lstrip("/")
