"""Ends a run from outside: SIGTERM, or a lease that is lost. Its Spark jobs are cancelled, and then it is told why."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from pyspark import SparkContext
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession

from wals_spark.errors import InterruptedRunError, WalsError
from wals_spark.spark.causes import JAVA_ERRORS, Causes

logger = logging.getLogger("wals_spark")

_BEFORE_SPARK = 100  # Spark's hook has 40
_LONGEST_GRACE = 3600  # seconds, of which we take what the settings say
_SECONDS_BETWEEN_CANCELS = 0.2  # a job that starts after one is cancelled by the next
_of_thread = threading.local()
_all: set[Stop] = set()


class Stop:
    """The end of what one thread does with Spark, which any thread may ask for.

    Jobs of the thread are cancelled until it has noticed (`raise_if_stopped`); those that it starts then, to leave
    things in order, run.
    """

    def __init__(self, sc: SparkContext) -> None:
        self.error: WalsError | None = None
        self.grace_seconds = 25.0
        self.tag = f"wals_spark-{uuid.uuid4().hex}"  # beside a job group of the user's
        self._sc = sc
        self._noticed = threading.Event()

    def request(self, error: WalsError) -> None:
        """Have the thread end with this error, soon; only the first request counts."""
        if self.error is None:
            self.error = error
            threading.Thread(target=self._cancel_jobs, name="wals_spark stop", daemon=True).start()

    def notice(self) -> WalsError | None:
        """The error to end with, if there is one; jobs that start from now on are not cancelled."""
        if self.error is not None:
            self._noticed.set()
        return self.error

    def _cancel_jobs(self) -> None:
        while not self._noticed.wait(_SECONDS_BETWEEN_CANCELS):
            with suppress(Exception):  # Spark may be what has ended
                self._sc.cancelJobsWithTag(self.tag)


@contextmanager
def stoppable(spark: SparkSession) -> Iterator[Stop]:
    """Yield what ends this thread's work with Spark; within another such ``with``, the same."""
    outer: Stop | None = getattr(_of_thread, "stop", None)
    if outer is not None:
        yield outer
        return
    sc = spark.sparkContext
    stop = Stop(sc)
    sc.addJobTag(stop.tag)
    _of_thread.stop = stop
    _all.add(stop)
    try:
        yield stop
    except Exception as error:
        reason = stop.notice()
        if reason is not None and error is not reason:
            raise reason from error  # a job that is cancelled fails in many ways
        raise
    finally:
        _all.discard(stop)
        del _of_thread.stop
        stop.notice()
        with suppress(*JAVA_ERRORS, OSError):  # a JVM that was told to end may be gone
            if sc._jsc is not None and not sc._jsc.sc().isStopped():
                sc.removeJobTag(stop.tag)


def raise_if_stopped() -> None:
    """End what this thread does, if that was asked for.

    Raises
    ------
    HeldError, InterruptedRunError
        The reason.
    """
    error = stop_noticed()
    if error is not None:
        raise error


def stop_noticed() -> WalsError | None:
    """The reason to end what this thread does, if that was asked for; its jobs are no longer cancelled."""
    stop: Stop | None = getattr(_of_thread, "stop", None)
    return None if stop is None else stop.notice()


@contextmanager
def ended_by_sigterm(spark: SparkSession) -> Iterator[None]:
    """Let SIGTERM to this process, or to its JVM, end what runs here until the end of the ``with``, in the main thread.

    Under ``spark-submit`` in client mode the signal reaches the JVM, which would stop Spark at once: it waits. What has
    not ended in time is ended by the operating system: another signal would follow that nothing survives.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        grace = _request_all()
        timer = threading.Timer(grace, os._exit, [InterruptedRunError.exit_code])
        timer.daemon = True
        timer.start()

    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread handle signals
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        with _awaited_by_jvm(spark):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _request_all() -> float:
    """Have all that runs in this process end; the seconds that it may take."""
    running = [*_all]
    if any(stop.error is None for stop in running):
        logger.warning("SIGTERM: the job ends")
    for stop in running:
        stop.request(InterruptedRunError("interrupted by SIGTERM"))
    return max((stop.grace_seconds for stop in running), default=1.0)


class _JvmEnds:
    """What the JVM calls, in a thread of its own, before it ends."""

    def run(self) -> None:
        end = time.monotonic() + _request_all()
        while _all and time.monotonic() < end:
            time.sleep(_SECONDS_BETWEEN_CANCELS)

    class Java:
        """What py4j reads."""

        implements = ("java.lang.Runnable",)


@contextmanager
def _awaited_by_jvm(spark: SparkSession) -> Iterator[None]:
    """Have the JVM call us before it stops Spark, which Spark's own hook does with a lower priority."""
    gateway: Any = spark.sparkContext._gateway
    try:
        ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
        jvm = gateway.jvm
        hook = jvm.java.lang.Thread(_JvmEnds())
        hooks, seconds = jvm.org.apache.hadoop.util.ShutdownHookManager.get(), jvm.java.util.concurrent.TimeUnit.SECONDS
        hooks.addShutdownHook(hook, _BEFORE_SPARK, _LONGEST_GRACE, seconds)
    except JAVA_ERRORS as error:
        logger.warning("SIGTERM to the JVM will end the job without a checkpoint: %s", Causes(error))
        yield
        return
    try:
        yield
    finally:
        with suppress(*JAVA_ERRORS):  # it may be what ends
            hooks.removeShutdownHook(hook)
