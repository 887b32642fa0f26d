"""How a small file is replaced, and how one is created that was not there, on each kind of file system.

A replaced file has its old or its new content for every reader, whenever the writer dies. Of any number of processes
that create one file, exactly one is told that it has.

* Local: the file is written beside its place and forced to disk; rename(2) replaces, link(2) creates, and the folder is
  forced too. Hadoop's own local file system does neither: its rename unlinks the target first, and its ``create``
  without overwriting looks and then creates.
* File systems with a name node (HDFS, ABFS, Ozone, ...): ``hsync`` and a rename that replaces in one step;
  ``create`` without overwriting, which the name node decides.
* Object stores: one PUT, which is atomic, and never a rename, which is a copy. An object is created by a PUT on the
  condition that there is none (If-None-Match), where store and connector have it: `ObjectStore.decides` finds out.
"""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from py4j.protocol import Py4JJavaError

from wals_spark.spark.causes import JAVA_ERRORS

TEMPORARY = ".new"
"""The end of the name of a file that is not yet in its place: what a crash leaves, and no reader reads."""

_OBJECT_STORES = frozenset({"s3", "s3a", "s3n", "gs", "oss", "cosn", "cos", "obs", "swift", "wasb", "wasbs", "o3s"})
_IF_ABSENT = "fs.option.create.conditional.overwrite"  # S3A since Hadoop 3.4.2
_EXISTS = ("FileAlreadyExistsException", "RemoteFileChangedException", "AlreadyBeingCreatedException")


class FileSystem(Protocol):
    """The operations that differ between file systems; paths are Hadoop's ``Path`` objects.

    ``renames`` says whether a folder can be moved in one step.
    """

    renames: bool

    def replace(self, path: Any, content: bytes) -> None:
        """Write a file, in place of one that may be there."""

    def create_new(self, path: Any, content: bytes) -> bool:
        """Write a file if there is none; whether it did."""

    def force(self, path: Any) -> None:
        """Have a folder and all below it survive a loss of power, where that is not so already."""

    def decides(self, path: Any) -> bool:
        """Whether `create_new` tells exactly one of several processes that it did; ``path`` is a file to try with."""


def file_system_of(gateway: Any, conf: Any, hadoop: Any) -> FileSystem:
    """The operations on Hadoop's file system ``hadoop``.

    One that is unknown here and has no ``FileContext``, which has the only rename of Hadoop's that replaces in one
    step, is taken for an object store.
    """
    scheme = str(hadoop.getUri().getScheme())
    if scheme == "file":
        return LocalFiles(hadoop)
    if scheme in _OBJECT_STORES or not conf.get(f"fs.AbstractFileSystem.{scheme}.impl"):
        return ObjectStore(hadoop)
    return NameNode(gateway, conf, hadoop)


class LocalFiles:
    """Files of this machine, or that it has mounted."""

    renames = True

    def __init__(self, hadoop: Any) -> None:
        self._hadoop = hadoop

    def replace(self, path: Any, content: bytes) -> None:
        """Write beside, force, rename over."""
        replace_local_file(self._local(path), content)

    def create_new(self, path: Any, content: bytes) -> bool:
        """Write beside, force, link to the name, which fails if that is there."""
        return create_local_file(self._local(path), content)

    def force(self, path: Any) -> None:
        """Force all files below the folder, and the folders."""
        top = self._local(path)
        for folder, _, files in os.walk(top, topdown=False):
            for name in files:
                with suppress(FileNotFoundError):
                    _force(Path(folder, name))
            _force(Path(folder))
        _force(top.parent)

    def decides(self, path: Any) -> bool:  # noqa: ARG002  # the kernel does
        """Always."""
        return True

    def _local(self, path: Any) -> Path:
        return Path(str(self._hadoop.pathToFile(path).getPath()))


class NameNode:
    """A file system whose rename replaces in one step, and whose server decides who creates a file."""

    renames = True

    def __init__(self, gateway: Any, conf: Any, hadoop: Any) -> None:
        self._gateway = gateway
        self._conf = conf
        self._hadoop = hadoop

    def replace(self, path: Any, content: bytes) -> None:
        """Write beside, ``hsync``, rename over."""
        fs = self._gateway.jvm.org.apache.hadoop.fs
        temporary = fs.Path(path.getParent(), _temporary_name(path.getName()))
        try:
            self._write(self._hadoop.create(temporary, False), content)
            context = fs.FileContext.getFileContext(path.toUri(), self._conf)
            options = self._gateway.new_array(fs.Options.Rename, 1)
            options[0] = fs.Options.Rename.OVERWRITE
            context.rename(temporary, path, options)
        except BaseException:
            with suppress(*JAVA_ERRORS):
                self._hadoop.delete(temporary, False)
            raise

    def create_new(self, path: Any, content: bytes) -> bool:
        """Create without overwriting."""
        try:
            stream = self._hadoop.create(path, False)
        except Py4JJavaError as error:
            if _says_exists(error):
                return False
            raise
        self._write(stream, content)
        return True

    def force(self, path: Any) -> None:
        """Nothing to do: servers have written what tasks closed."""

    def decides(self, path: Any) -> bool:
        """Try: create twice."""
        try:
            return self.create_new(path, b"") and not self.create_new(path, b"")
        finally:
            self._hadoop.delete(path, False)

    def _write(self, stream: Any, content: bytes) -> None:
        try:
            stream.write(content)
            stream.hsync()
        finally:
            stream.close()


class ObjectStore:
    """Objects, which appear when their stream is closed, whole."""

    renames = False

    def __init__(self, hadoop: Any) -> None:
        self._hadoop = hadoop

    def replace(self, path: Any, content: bytes) -> None:
        """One PUT."""
        stream = self._hadoop.create(path, True)
        try:
            stream.write(content)
        except BaseException:
            with suppress(*JAVA_ERRORS):  # closing would put a part of it
                stream.getWrappedStream().abort()
            raise
        stream.close()

    def create_new(self, path: Any, content: bytes) -> bool:
        """One PUT on the condition that there is nothing."""
        try:
            stream = self._opened_new(path)
            stream.write(content)
            stream.close()
        except Py4JJavaError as error:
            if _says_exists(error):
                return False
            raise
        return True

    def force(self, path: Any) -> None:
        """Nothing to do: what a PUT has returned is stored."""

    def decides(self, path: Any) -> bool:
        """Try: two streams to one object are open together, and the second may not be closed without an error.

        A connector that looks whether there is an object, and then puts its own, lets both pass.
        """
        try:
            passed = 0
            streams = []
            for _ in range(2):
                with suppress(*JAVA_ERRORS):
                    streams.append(self._opened_new(path))
            for stream in streams:
                with suppress(*JAVA_ERRORS):
                    stream.write(b"x")
                    stream.close()
                    passed += 1
            return passed == 1
        finally:
            self._hadoop.delete(path, False)

    def _opened_new(self, path: Any) -> Any:
        if self._hadoop.hasPathCapability(path, _IF_ABSENT):
            return self._hadoop.createFile(path).overwrite(True).must(_IF_ABSENT, True).build()
        return self._hadoop.create(path, False)


def replace_local_file(target: Path, content: bytes) -> None:
    """Write a file, in place of one that may be there; it is on the disk when this returns."""
    temporary = _forced(target, content)
    try:
        os.replace(temporary, target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _force(target.parent)


def create_local_file(target: Path, content: bytes) -> bool:
    """Write a file if there is none; whether it did."""
    temporary = _forced(target, content)
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        return _created_exclusively(target, content)  # exFAT and some network file systems have no links
    finally:
        temporary.unlink(missing_ok=True)
    _force(target.parent)
    return True


def _temporary_name(name: str) -> str:
    return f".{name}.{uuid.uuid4().hex}{TEMPORARY}"


def _forced(target: Path, content: bytes) -> Path:
    """A new file beside ``target`` with this content, forced to disk; folders are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(_temporary_name(target.name))
    try:
        _write_new(temporary, content)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _created_exclusively(target: Path, content: bytes) -> bool:
    try:
        _write_new(target, content)
    except FileExistsError:
        return False
    return True


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, and force it to disk."""
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _force(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems do not force folders
            raise
    finally:
        os.close(descriptor)


def _says_exists(error: Py4JJavaError) -> bool:
    """Whether Java says, anywhere in its chain of causes, that the file is there."""
    throwable: Any = error.java_exception
    while throwable is not None:
        name, message = throwable.getClass().getSimpleName(), str(throwable.getMessage())
        if name in _EXISTS or "412" in message or any(sign in message for sign in _EXISTS):
            return True
        throwable = throwable.getCause()
    return False
