"""Settings of a user's session that are lent to this package and given back, from any number of threads at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from pyspark.sql import SparkSession

from wals_spark.spark.causes import JAVA_ERRORS

_DESCRIPTION = "spark.job.description"


@dataclass(eq=False)
class _Loan:
    """What a borrower found a setting at, and gives back."""

    found: Any


_loans: dict[tuple[int, str], list[_Loan]] = {}  # of a setting, the latest last
_lock = Lock()


@contextmanager
def lent(key: tuple[int, str], value: Any, get: Callable[[], Any], put: Callable[[Any], None]) -> Iterator[None]:
    """Give a setting a value until the end of the ``with``, and then the value it was found at.

    A borrower that ends before a later one leaves the value to it, and what was found with it.
    """
    with _lock:
        loan = _Loan(get())
        _loans.setdefault(key, []).append(loan)
        put(value)
    try:
        yield
    finally:
        with _lock, suppress(*JAVA_ERRORS, OSError):  # a JVM that was told to end may be gone
            later = _without(key, loan)
            if later:
                later.found = loan.found
            else:
                put(loan.found)


def _without(key: tuple[int, str], loan: _Loan) -> _Loan | None:
    """Take a loan from those of its setting; the one after it, if any."""
    loans = _loans[key]
    place = loans.index(loan)
    del loans[place]
    if not loans:
        del _loans[key]
    return loans[place] if place < len(loans) else None


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
