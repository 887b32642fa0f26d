"""Where compiled kernels are kept: a folder of the user's own, the same for every run that has the same kernels."""

from __future__ import annotations

import hashlib
import inspect
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache


class KernelCache(FunctionCache):
    """Numba's cache of a function, in `kernel_folder`.

    Numba's own is named for the folder of the source: on an executor, where Spark unpacks the package into a folder of
    the run, each run leaves one. It also lies beside the source, whoever can write there.

    Raises
    ------
    RuntimeError
        If there is no folder that this user alone can write.
    """

    class _Files(CompileResultCacheImpl):
        def __init__(self, function: Callable[..., Any]) -> None:
            self._locator_classes = [_Locator]
            super().__init__(function)  # type: ignore[no-untyped-call]

    _impl_class = _Files


class _Locator:
    """What Numba asks of a place for a function's files."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self.function = function
        self.folder = folder

    @classmethod
    def from_function(cls, function: Callable[..., Any], _: str) -> _Locator | None:
        try:
            modules = (function.__module__, "wals_spark.arrays.jit")  # the second has the options of the compiler
            folder = kernel_folder(*(inspect.getsource(sys.modules[module]) for module in modules))
        except OSError:  # a package without its source
            return None
        return None if folder is None else cls(function, folder)

    def ensure_cache_path(self) -> None:
        """Nothing: the folder was made and checked."""

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return ""  # the folder is named for the source

    def get_disambiguator(self) -> str:
        return str(self.function.__code__.co_firstlineno)


def kernel_folder(*sources: str) -> Path | None:
    """The folder of kernels of these sources: named for them and Numba's version; Numba tells CPUs apart in it.

    In ``NUMBA_CACHE_DIR``, else the user's cache, else the folder for temporary files, whichever comes first that this
    user alone can write; None if none of them is.
    """
    digest = hashlib.sha256("\0".join((*sources, numba.__version__)).encode()).hexdigest()
    for base in _bases():
        folder = base / digest[:16]
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            if _is_private(base) and _is_private(folder) and os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    return None


def _bases() -> Iterator[Path]:
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given, "wals_spark")
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "wals_spark")
    yield Path(tempfile.gettempdir(), f"wals_spark-{os.geteuid()}")


def _is_private(folder: Path) -> bool:
    """Whether nobody else put the folder there or can write in it: what is read from it runs as this user."""
    status = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & others
