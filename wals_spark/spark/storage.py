"""Small files and new folders on any storage that Spark can reach, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError
from wals_spark.messages import quoted
from wals_spark.spark.causes import JAVA_ERRORS, Causes

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
        self._gateway: Any = spark.sparkContext._gateway
        self._conf: Any = spark.sparkContext._jsc.hadoopConfiguration()
        try:
            path = self._jvm.org.apache.hadoop.fs.Path(root)
            self._fs: Any = path.getFileSystem(self._conf)
        except JAVA_ERRORS as error:
            raise ConfigError(f"there is no storage at {quoted(root)}: {Causes(error)}") from error
        if hasattr(self._fs, "getRawFileSystem"):
            self._fs = self._fs.getRawFileSystem()  # local files without a .crc beside each
        self.root: str = self._fs.makeQualified(path).toString()

    def path(self, *parts: str) -> str:
        """The full name of something below the root."""
        return "/".join((self.root.rstrip("/"), *parts))

    def exists(self, *parts: str) -> bool:
        """Whether there is a file or a folder."""
        return bool(self._fs.exists(self._path(*parts)))

    def names(self, *parts: str) -> list[str]:
        """The names of the files and folders in a folder."""
        return sorted(str(status.getPath().getName()) for status in self._fs.listStatus(self._path(*parts)))

    def read_text(self, *parts: str) -> str:
        """All of a small text file."""
        stream = self._fs.open(self._path(*parts))
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_text(self, text: str, *parts: str) -> None:
        """Replace a small text file in one step: a reader sees the old text or the new one, never a part."""
        unfinished = (*parts[:-1], f".{parts[-1]}.new")
        stream = self._fs.create(self._path(*unfinished), True)
        try:
            stream.write(text.encode("utf-8"))
        finally:
            stream.close()
        self.rename(self.path(*unfinished), self.path(*parts), overwrite=True)

    def rename(self, source: str, target: str, *, overwrite: bool = False) -> None:
        """Move a file or a folder, both by full name, in one step; something at ``target`` is refused, or replaced."""
        options = self._jvm.org.apache.hadoop.fs.Options.Rename
        option = self._gateway.new_array(options, 1)
        option[0] = options.OVERWRITE if overwrite else options.NONE
        origin, destination = (self._jvm.org.apache.hadoop.fs.Path(path) for path in (source, target))
        context = self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(destination.toUri(), self._conf)
        context.rename(origin, destination, option)

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

    def delete(self, *parts: str) -> None:
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
        storage.write_text("", *parts, MARK)
    except JAVA_ERRORS as error:
        _delete_empty(storage, made)
        raise ConfigError(f"{quoted(storage.path(*parts))} cannot be written: {Causes(error)}") from error
    try:
        yield
    except errors:
        with suppress(*JAVA_ERRORS):  # the first error is the one to read
            storage.delete(*parts)
            _delete_empty(storage, made)
        raise


def _delete_empty(storage: Storage, folders: list[str]) -> None:
    for folder in reversed(folders):
        storage.delete_empty(folder)


@contextmanager
def new_folder(spark: SparkSession, path: str, *, setting: str = "output.path") -> Iterator[Storage]:
    """Yield a folder to write to, which becomes ``path`` when all is written; if that fails, nothing is there.

    Raises
    ------
    ConfigError
        If something is at ``path``, which ``setting`` names, or it cannot be written, or something that is not of this
        package is where the folder is made.
    """
    target = Storage(spark, path)
    unfinished = Storage(spark, f"{target.path()}.unfinished")
    _refuse_to_replace(target, unfinished, f"{setting} = {quoted(path)}")
    with written_or_nothing(unfinished):
        folder = Storage(spark, unfinished.path("new"))
        yield folder
        folder.rename(folder.path(), target.path())
    unfinished.delete()


def _refuse_to_replace(target: Storage, unfinished: Storage, named: str) -> None:
    try:
        if target.exists():
            raise ConfigError(f"{named} exists and stays: name another folder, or remove this one")
        if unfinished.exists():
            if not unfinished.exists(MARK):
                raise ConfigError(
                    f"{named}: {quoted(unfinished.root)} is in the way and stays: it is not of wals_spark; move it, "
                    "or name another folder"
                )
            unfinished.delete()  # what a run that died has left
    except JAVA_ERRORS as error:
        raise ConfigError(f"{named} cannot be opened: {Causes(error)}") from error
