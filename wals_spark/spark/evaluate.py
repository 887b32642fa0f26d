"""Evaluates a model on held-out interactions, beside popularity, in one pass over the users."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.errors import ConfigError, InputError
from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.results import METRICS_FILE, Evaluation, metric_entries
from wals_spark.evaluation.user_batch import Protocol
from wals_spark.settings.evaluate import EvaluateSettings
from wals_spark.settings.tables import Input
from wals_spark.spark.checking import check
from wals_spark.spark.evaluate_tasks import RESULTS, USERS_PER_BATCH, EvaluateTask, evaluate_users, unpacked
from wals_spark.spark.held_out import HeldOut, PopularityOptions, gathered, with_plain_ids
from wals_spark.spark.histories import partitions, refuse_other_type
from wals_spark.spark.item_table import SentTables
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.report import write_report
from wals_spark.spark.negatives import read_candidates
from wals_spark.spark.predict import rating_errors
from wals_spark.spark.reading import read
from wals_spark.spark.session import arrow_batch_rows
from wals_spark.spark.storage import Storage

logger = logging.getLogger("wals_spark")


class Tables(NamedTuple):
    """Raw interactions: held out, in training (for what users have seen, and popularity), and candidates."""

    test: DataFrame
    training: DataFrame | None = None
    candidates: DataFrame | None = None


def run_evaluate(spark: SparkSession, settings: EvaluateSettings) -> None:
    """Evaluate a stored model, print the metrics and write metrics.json and the report."""
    model, against = open_version(spark, settings.model.path, settings.model.version), _opened_against(spark, settings)
    tables = Tables(
        read(spark, settings.test, section="test"),
        read(spark, settings.input) if settings.input.path else None,
        read_candidates(spark, settings.candidates) if settings.candidates.path else None,
    )
    evaluation = evaluate_version(model, tables, settings, against)
    for sentence in evaluation.caveats:
        logger.warning("%s", sentence)
    created = datetime.now(timezone.utc)
    document = evaluation.document(
        created=created,
        model=_identity(model),
        protocol=settings.facts,
        against=None if against is None else _identity(against),
    )
    output = Storage(spark, settings.output.path or model.storage.path(model.folder))
    output.replace(json.dumps(document, indent=2, ensure_ascii=False) + "\n", METRICS_FILE)
    write_report(model.storage, model.folder, model.manifest, document)
    users, items = (f"{evaluation.counts[name]:,}" for name in ("users", "items"))
    compared = "" if against is None else f" against {against.version}"
    print(f"\nModel {model.version}{compared}, {users} users evaluated on {items} items\n\n{evaluation}\n")
    logger.info("wrote %s", output.path(METRICS_FILE))


def evaluate_version(
    model: ModelVersion, tables: Tables, settings: EvaluateSettings, against: ModelVersion | None = None
) -> Evaluation:
    """Check the interactions, gather them by user, and evaluate a model on them; with ``against``, compare it.

    A comparison is on the users that both models know.

    Raises
    ------
    ConfigError, InputError
        As `evaluate` and `check`.
    """
    models = [model] if against is None else [model, against]
    shared = None if against is None else shared_users([model, against])
    options = settings.evaluate
    names = options.rating_metrics(predicts_ratings=all(m.user_objective.target == "rating" for m in models))
    found = [Evaluation([], {}) for _ in models]
    if names:
        rated = _of_users(_clean(tables.test, settings.test, "test", implicit=False), shared)
        found = [_rating_evaluation(one, rated, names) for one in models]
    if not names or options.rank_metrics or not options.metrics:
        ranked = _evaluate_ranks(models, tables, settings, shared)
        found = [
            replace(
                ranks,
                metrics=[*ratings.metrics, *ranks.metrics],
                counts={**ratings.counts, **ranks.counts},
            )
            for ratings, ranks in zip(found, ranked, strict=True)
        ]
    return found[0] if against is None else found[0].compared_with(found[1])


def _opened_against(spark: SparkSession, settings: EvaluateSettings) -> ModelVersion | None:
    against = settings.against
    if not against.path and not against.version:
        return None
    return open_version(spark, against.path or settings.model.path, against.version, setting="against")


def _identity(model: ModelVersion) -> dict[str, str]:
    return {"path": model.storage.root, "version": model.version}


def shared_users(models: Sequence[ModelVersion]) -> DataFrame:
    """The ids of the users of all models: one column, ``user``."""
    shared, *others = (with_plain_ids(one.user_factors.select("id"), "id") for one in models)
    for ids in others:
        refuse_other_type(ids.schema["id"].dataType, shared.schema["id"].dataType, setting="against: user ids")
        shared = shared.join(ids, "id", "left_semi")
    return shared.withColumnRenamed("id", "user")


def _of_users(test: DataFrame, users: DataFrame | None) -> DataFrame:
    """The rows of some users; None: of all."""
    return test if users is None else with_plain_ids(test, "user").join(users, "user", "left_semi")


def _users_not_among(test: DataFrame, users: DataFrame) -> int:
    return with_plain_ids(test, "user").join(users, "user", "left_anti").select("user").distinct().count()


def _rating_evaluation(model: ModelVersion, rated: DataFrame, names: tuple[str, ...]) -> Evaluation:
    errors = rating_errors(model, rated)
    known = rated.join(model.user_factors, rated["user"] == model.user_factors["id"], "left_semi")
    counts = {"users": known.select("user").distinct().count(), "items": model.manifest["counts"]["items"]}
    return Evaluation(errors.entries(names), {**counts, **errors.counts})


def _evaluate_ranks(
    models: Sequence[ModelVersion], tables: Tables, settings: EvaluateSettings, shared: DataFrame | None
) -> list[Evaluation]:
    """Each model on the same users, gathered once."""
    first = models[0]
    spark, counts = first.spark, first.manifest["counts"]
    implicit = first.manifest["settings"]["train"]["implicit"]
    test = _clean(tables.test, settings.test, "test")
    left_out = 0 if shared is None else _users_not_among(test, shared)
    with gathered(
        _of_users(test, shared),
        _clean(tables.training, settings.input, "input", implicit=implicit) if tables.training else None,
        _clean(tables.candidates, settings.candidates, "candidates") if tables.candidates else None,
        n_partitions=partitions(counts["users"], counts["items"], spark.sparkContext.defaultParallelism),
        duplicates=settings.test.duplicates,
        popularity=PopularityOptions(settings.evaluate.head_share, settings.evaluate.seed),
    ) as held_out:
        has_training, sampled = tables.training is not None, tables.candidates is not None
        protocol = settings.evaluate.protocol(has_training=has_training, sampled=sampled)
        evaluations = [
            evaluate(held_out, one.user_factors, one.item_factors, width=one.width, protocol=protocol) for one in models
        ]
        more = {"test_users_not_in_both": left_out, "input_pairs_not_trained_on": _other_pairs(first, held_out)}
    return [replace(one, counts={**one.counts, **{k: n for k, n in more.items() if n}}) for one in evaluations]


def _other_pairs(model: ModelVersion, held_out: HeldOut) -> int:
    """The pairs of the training interactions, if they are not as many as the model was trained on; else 0."""
    pairs = 0 if held_out.popularity is None else held_out.popularity.n_pairs
    was_trained = "folded_in_from" not in model.manifest  # a fold-in counts its own interactions
    return pairs if was_trained and pairs != model.manifest["counts"]["observations"] else 0


def evaluate(
    held_out: HeldOut, user_factors: DataFrame, item_factors: DataFrame, *, width: int, protocol: Protocol
) -> Evaluation:
    """Evaluate factor tables (id, features); ``width`` is the number of features, those of biases included.

    Raises
    ------
    ConfigError
        If a list is to be longer than the catalogue.
    InputError
        If ids are of other types than the model's, or no user is left to be evaluated.
    """
    for side, factors in (("user", user_factors), ("item", item_factors)):
        refuse_other_type(held_out.types[side], factors.schema["id"].dataType, setting=f"test.{side}")
    ids = with_plain_ids(item_factors, "id")
    sent = SentTables()  # until the evaluation is over
    items, longest = sent.table(ids, width=width), max(protocol.measures.ks)
    if longest > items.rows:
        raise ConfigError(f"evaluate.k = {longest}: the model has no more than {items.rows} items")
    counts = None if held_out.counts is None else sent.table(_with_counts(ids, held_out.counts), width=1)
    rows = with_plain_ids(user_factors, "id").repartition(held_out.n_partitions, "id")
    task = EvaluateTask(items, counts, held_out.popularity, protocol)
    spark = item_factors.sparkSession
    spark.sparkContext.setJobDescription("evaluate users")
    with arrow_batch_rows(spark, USERS_PER_BATCH):  # rows are long: factors and histories
        users = held_out.users.join(rows, "id", "left")
        results = users.mapInArrow(partial(evaluate_users, task=task), RESULTS).persist()
        try:
            summaries = results.where("counts is not null").select("sums", "counts").collect()  # 100 KB per task or so
            best_ranks = _items_by_best_rank(results)
        finally:
            results.unpersist()
    totals = Counter[str]()
    for row in summaries:
        totals.update(json.loads(row["counts"]))
    _refuse_no_users(totals)
    sums = MetricSums.merged(unpacked(row["sums"], protocol.replicates) for row in summaries if row["sums"])
    metrics = metric_entries(protocol.measures, sums, best_ranks, items.rows)
    replicates = dict(zip(map(str, protocol.measures.columns), sums.ratios.T, strict=False))  # of the model alone
    return Evaluation(metrics, {**totals, "items": items.rows}, replicates)


def _clean(raw: DataFrame, settings: Input, section: str, *, implicit: bool = True) -> DataFrame:
    """The interactions of a section, checked."""
    interactions = check(raw, settings, implicit=implicit, section=section)
    logger.info("read %s rows of %s", f"{interactions.rows:,}", settings.named(section))
    return interactions.table


def _refuse_no_users(counts: Counter[str]) -> None:
    if not counts["users"]:
        raise InputError(
            f"no user is left to be evaluated: {counts['test_users_unknown']} of {counts['test_users']} users in "
            f"the test are not in the model, {counts['test_pairs_in_training']} pairs of the others are in "
            "the training interactions"
        )


def _items_by_best_rank(results: DataFrame) -> list[dict[int, int]]:
    """For each model, how many items have each best rank: as many rows as the longest list is long."""
    best = results.where("item is not null").groupBy("model", "item").agg(F.min("rank").alias("rank"))
    rows = best.groupBy("model", "rank").agg(F.count("*").alias("items")).collect()
    return [{row["rank"]: row["items"] for row in rows if row["model"] == model} for model in range(2)]


def _with_counts(ids: DataFrame, counts: DataFrame) -> DataFrame:
    """Items as rows of one number, exact up to 2^24: beyond, counts closer than one in 16 million tie."""
    with_users = ids.select("id").join(counts.withColumnRenamed("item", "id"), "id", "left")
    return with_users.select("id", F.array(F.coalesce("users", F.lit(0)).cast("float")).alias("features"))
