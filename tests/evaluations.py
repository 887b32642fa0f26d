"""Measures and protocols for tests: a test names the parts that it is about, the values here stand for the others."""

from __future__ import annotations

from wals_spark.evaluation.metrics import Measures
from wals_spark.evaluation.user_batch import Protocol


def make_measures(names, ks, recall="test", average_precision="capped"):
    return Measures(names, ks, recall, average_precision)


def make_protocol(measures, ties="order", replicates=200, sampled=False):
    return Protocol(measures, ties, replicates, sampled=sampled)
