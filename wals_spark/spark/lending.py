"""Settings of a user's session that are lent to this package and given back, from any number of threads at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from pyspark.sql import SparkSession

from wals_spark.spark.causes import JAVA_ERRORS

_DESCRIPTION = "spark.job.description"


@dataclass
class _Loan:
    """What a setting was, and what those who have it on loan want it to be, the latest last."""

    original: Any
    wanted: dict[object, Any] = field(default_factory=dict)


_loans: dict[tuple[int, str], _Loan] = {}
_lock = Lock()


@contextmanager
def lent(key: tuple[int, str], value: Any, get: Callable[[], Any], put: Callable[[Any], None]) -> Iterator[None]:
    """Give a setting a value until the end of the ``with``; it is what it was when nobody has it on loan any more."""
    borrower = object()
    with _lock:
        loan = _loans[key] = _loans.get(key) or _Loan(get())
        loan.wanted[borrower] = value
        put(value)
    try:
        yield
    finally:
        with _lock, suppress(*JAVA_ERRORS, OSError):  # a JVM that was told to end may be gone
            del loan.wanted[borrower]
            put([*loan.wanted.values()][-1] if loan.wanted else loan.original)
            if not loan.wanted:
                del _loans[key]


@contextmanager
def runtime_conf(spark: SparkSession, values: dict[str, str]) -> Iterator[None]:
    """Give the session these settings until the end of the ``with``."""
    session = id(spark._jsparkSession)  # which copies of the session object share
    with ExitStack() as stack:
        for name, value in values.items():
            get, put = partial(spark.conf.get, name, None), partial(_put, spark, name)
            stack.enter_context(lent((session, name), value, get, put))
        yield


def _put(spark: SparkSession, name: str, value: str | None) -> None:
    """Give a session that still runs a setting; None: none."""
    if not spark.sparkContext._jsc.sc().isStopped():
        if value is None:
            spark.conf.unset(name)
        else:
            spark.conf.set(name, value)


@contextmanager
def workers_of_this_python(spark: SparkSession) -> Iterator[None]:
    """Have this machine's workers run the Python that runs here, unless the user has chosen one.

    PySpark's default is whatever ``python3`` is on the PATH, which need not have this package, or any.
    """
    sc = spark.sparkContext
    is_chosen = "PYSPARK_PYTHON" in os.environ or sc.getConf().contains("spark.pyspark.python")
    if is_chosen:
        yield
        return
    with lent((id(sc), "python"), sys.executable, lambda: sc.pythonExec, lambda v: setattr(sc, "pythonExec", v)):
        yield


@contextmanager
def job_description_restored(spark: SparkSession) -> Iterator[None]:
    """Give this thread's job description back at the end of the ``with``."""
    sc = spark.sparkContext
    before = sc.getLocalProperty(_DESCRIPTION)
    try:
        yield
    finally:
        with suppress(*JAVA_ERRORS, OSError):
            if not sc._jsc.sc().isStopped():
                sc.setLocalProperty(_DESCRIPTION, before)  # type: ignore[arg-type]
