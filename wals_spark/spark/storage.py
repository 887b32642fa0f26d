"""Small files on whatever storage Spark can reach (local, HDFS, object stores), written whole or not at all."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from wals_spark.errors import ConfigError

CURRENT = "CURRENT"  # below the root: the name of the served version
MANIFEST, EVENTS = "manifest.json", "events.jsonl"  # in a version's folder


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
        self._jvm: Any = jvm
        self._gateway: Any = spark.sparkContext._gateway
        self._conf: Any = spark.sparkContext._jsc.hadoopConfiguration()
        path = self._jvm.org.apache.hadoop.fs.Path(root)
        try:
            self._fs: Any = path.getFileSystem(self._conf)
        except Py4JJavaError as error:
            raise ConfigError(f"{root} is on no storage that Spark knows: {error.java_exception}") from error
        if hasattr(self._fs, "getRawFileSystem"):
            self._fs = self._fs.getRawFileSystem()  # local files without a .crc beside each
        self.root: str = self._fs.makeQualified(path).toString()

    def path(self, *parts: str) -> str:
        """The full name of something below the root."""
        return "/".join((self.root.rstrip("/"), *parts))

    def exists(self, *parts: str) -> bool:
        """Whether it is there."""
        return bool(self._fs.exists(self._path(*parts)))

    def read_text(self, *parts: str) -> str:
        """All of a small text file."""
        stream = self._fs.open(self._path(*parts))
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_text(self, text: str, *parts: str) -> None:
        """Replace a small text file in one step: a reader sees the old text or the new one, never a part."""
        target = self._path(*parts)
        fresh = self._path(*parts[:-1], f".{parts[-1]}.new")
        stream = self._fs.create(fresh, True)
        try:
            stream.write(text.encode("utf-8"))
        finally:
            stream.close()
        rename = self._jvm.org.apache.hadoop.fs.Options.Rename
        overwrite = self._gateway.new_array(rename, 1)
        overwrite[0] = rename.OVERWRITE
        context = self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(target.toUri(), self._conf)
        context.rename(fresh, target, overwrite)

    def delete(self, *parts: str) -> None:
        """Remove a file or a folder with all below it; fine if it is not there."""
        self._fs.delete(self._path(*parts), True)

    def _path(self, *parts: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self.path(*parts))
