"""A night's candidate beside the served version and the best so far: on the same test users, and as factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.evaluation.comparison import difference
from wals_spark.evaluation.metrics import Measures
from wals_spark.evaluation.results import Evaluation
from wals_spark.evaluation.user_batch import Protocol
from wals_spark.nights.gate import Comparison, GateFigures, Sanity, SideSanity
from wals_spark.settings.retrain import Gate
from wals_spark.spark.evaluate import evaluate, shared_users
from wals_spark.spark.held_out import PopularityOptions, gathered, with_plain_ids
from wals_spark.spark.histories import partitions
from wals_spark.spark.model.factor_tables import row_lengths
from wals_spark.spark.model.open import ModelVersion
from wals_spark.spark.nights.snapshot import Snapshot


class Rivals(NamedTuple):
    """What a candidate is compared with; None: there is none, or it is the served version."""

    served: ModelVersion | None
    anchor: ModelVersion | None


def evaluate_on_test(
    models: Sequence[ModelVersion], snapshot: Snapshot, gate: Gate, duplicates: str
) -> list[Evaluation]:
    """Each model on the test users that all of them know, or on as many as the gate takes; the first with popularity.

    Raises
    ------
    InputError
        If no user is left.
    """
    first, (name, k) = models[0], gate.measure
    users = _drawn(shared_users(models), snapshot.test, gate)
    test = with_plain_ids(snapshot.test, "user").join(users, "user", "left_semi")
    counts = first.manifest["counts"]
    measures = Measures((name,), (k,), recall="test", average_precision="capped")
    protocol = Protocol(measures, "order", gate.bootstrap, sampled=False)
    with gathered(
        test,
        snapshot.training,
        n_partitions=partitions(counts["users"], counts["items"], first.spark.sparkContext.defaultParallelism),
        duplicates=duplicates,
        popularity=PopularityOptions(seed=gate.seed, with_popularity=gate.popularity),
    ) as held_out:
        alone = replace(held_out, counts=None, popularity=None)
        return [
            evaluate(on, one.user_factors, one.item_factors, width=one.width, protocol=protocol)
            for one, on in zip(models, (held_out, *(alone for _ in models[1:])), strict=True)
        ]


def gate_figures(
    candidate: ModelVersion, rivals: Rivals, snapshot: Snapshot, gate: Gate, duplicates: str
) -> GateFigures:
    """All that the gate decides by."""
    others = [rival for rival in rivals if rival is not None]
    ours, *theirs = evaluate_on_test([candidate, *others], snapshot, gate, duplicates)
    compared = {
        rival.version: _comparison(rival.version, ours, of_rival, gate.metric)
        for rival, of_rival in zip(others, theirs, strict=True)
    }
    served, anchor = (None if rival is None else compared[rival.version] for rival in rivals)
    return GateFigures(
        metric=gate.metric,
        users=ours.counts["users"],
        candidate=ours.value(gate.metric),
        popularity=_popularity(ours),
        sanity=sanity_of(candidate),
        served_sanity=None if rivals.served is None else sanity_of(rivals.served),
        served=served,
        anchor=anchor,
    )


def sanity_of(model: ModelVersion) -> Sanity:
    """What can be said of a version's factors without a test."""
    manifest = model.manifest
    sides = (_sanity_of_side(table) for table in (model.user_factors, model.item_factors))
    users, items = sides
    observations = manifest["counts"]["observations"]
    return Sanity(loss_per_observation=manifest["loss"]["total"] / max(observations, 1), users=users, items=items)


def _sanity_of_side(factors: DataFrame) -> SideSanity:
    factors.sparkSession.sparkContext.setJobDescription("lengths of factors")
    length = F.col("length")
    is_finite = ~F.isnan(length) & (length != float("inf"))
    (row,) = row_lengths(factors).agg(
        F.count("*").alias("rows"),
        F.count_if(length == 0.0).alias("zero"),
        F.count_if(~is_finite).alias("not_finite"),
        F.percentile_approx(F.when(is_finite, length), 0.5).alias("median"),
    ).collect()  # fmt: skip
    return SideSanity(
        rows=row["rows"], zero_rows=row["zero"], not_finite=row["not_finite"], median_length=row["median"] or 0.0
    )


def _drawn(users: DataFrame, test: DataFrame, gate: Gate) -> DataFrame:
    """Those of the users who are in the test, or about ``gate.max_users`` of them, by a hash of their ids."""
    tested = users.join(with_plain_ids(test, "user").select("user"), "user", "left_semi")
    number = tested.count()
    if number <= gate.max_users:
        return tested
    hashed = F.shiftrightunsigned(F.xxhash64(F.lit(gate.seed), F.col("user").cast("string")), 11) * 2.0**-53
    return tested.where(hashed < gate.max_users / number)


def _comparison(version: str, ours: Evaluation, theirs: Evaluation, metric: str) -> Comparison:
    """The paired difference, and its standard deviation over bootstrap replicates, in which users count alike."""
    estimate = difference(ours.replicates[metric], theirs.replicates[metric], level=_ONE_DEVIATION)
    return Comparison(
        version=version,
        value=theirs.value(metric),
        difference=estimate.value,
        deviation=(estimate.high - estimate.low) / 2.0,
    )


_ONE_DEVIATION = 0.6826894921370859  # the level of the interval that is as wide as one deviation on each side


def _popularity(evaluation: Evaluation) -> float | None:
    entry: dict[str, Any] = evaluation.metrics[0]
    value = entry.get("popularity")
    return None if value is None else float(value)
