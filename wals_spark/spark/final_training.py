"""After a search: its best settings trained on input and test together, with several seeds, and a final test."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import msgspec
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from wals_spark.evaluation.results import Evaluation
from wals_spark.settings.resolved import resolved
from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings
from wals_spark.spark.checking import Interactions, check
from wals_spark.spark.hard_negatives import with_negatives
from wals_spark.spark.held_out import PopularityOptions, gathered
from wals_spark.spark.histories import partitions
from wals_spark.spark.model.publish import WORK
from wals_spark.spark.prepared import build, check_input
from wals_spark.spark.reading import read
from wals_spark.spark.search import Search
from wals_spark.spark.storage import Storage
from wals_spark.spark.training.recovery import train
from wals_spark.tuning.leaderboard import Trial

logger = logging.getLogger("wals_spark")

FINAL = "final.json"


def final_training(spark: SparkSession, storage: Storage, settings: TuneSettings, best: Trial) -> None:
    """Train with the settings of the best trial and each seed, evaluate, and write `FINAL`; nothing is kept of them."""
    trained = {name: value for name, value in best.trained.items() if name != "train.seed"}
    config = msgspec.structs.replace(Config.of(trained), input=settings.input)
    storage.delete_tree(WORK)
    try:
        interactions = _together(spark, settings, config)
        negatives = config.train.negatives
        rows = with_negatives(interactions, negatives, storage.path(WORK, "negatives"))
        prepared = build(rows, config, storage.path(WORK))
        tested = check(read(spark, settings.final, section="final"), settings.final, section="final")
        users, items = prepared.blocks.users.rows, prepared.blocks.items.rows
        with gathered(
            tested.table,
            interactions.table,
            n_partitions=partitions(users, items, spark.sparkContext.defaultParallelism),
            duplicates=settings.final.duplicates,
            popularity=PopularityOptions(seed=settings.evaluate.seed, with_popularity=False),
        ) as held_out:
            search = Search(storage, settings, prepared, None, held_out, None, {})
            evaluations = []
            for seed in range(settings.tune.seeds):
                evaluations.append(_evaluated(search, config, seed))
                value = evaluations[-1].value(settings.tune.metric)
                logger.info("final training, seed %d: %s %.4f", seed, settings.tune.metric, value)
    finally:
        storage.delete_tree(WORK)
    document = _document(settings, best, evaluations)
    storage.replace(json.dumps(document, indent=2, ensure_ascii=False) + "\n", FINAL)
    mean, deviation = (document["metrics"][settings.tune.metric][key] for key in ("mean", "deviation"))
    logger.info(
        "the best settings on input and test together, %d seeds: %s %.4f, standard deviation %.4f: %s",
        settings.tune.seeds, settings.tune.metric, mean, deviation, storage.path(FINAL),
    )  # fmt: skip


def _together(spark: SparkSession, settings: TuneSettings, config: Config) -> Interactions:
    """The interactions of input and of test, each checked by its own settings."""
    first = check_input(read(spark, settings.input), config)
    tested = check(
        read(spark, settings.test, section="test"),
        settings.test,
        implicit=config.train.implicit,
        decay=config.decay(),
        section="test",
    )
    types = {field.name: field.dataType for field in first.table.schema}
    second = tested.table.select(*(F.col(name).cast(types[name]) for name in first.table.columns))
    return first.plus(replace(tested, table=second, fingerprint=None))  # it was of columns of maybe other types


def _evaluated(search: Search, config: Config, seed: int) -> Evaluation:
    seeded = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, seed=seed))
    chosen = resolved(seeded, search.prepared.blocks.counts)
    objectives = search.prepared.objectives(chosen)
    trained = train(search.prepared.blocks, objectives, chosen.train)
    try:
        protocol = search.settings.protocol
        return search.evaluate(trained.user_factors, trained.item_factors, objectives, protocol)
    finally:
        trained.unpersist()


def _document(settings: TuneSettings, best: Trial, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Of each metric: its mean over seeds, their standard deviation, and each seed's value with its interval."""
    metrics = {}
    for metric in (settings.tune.metric, *settings.tune.logged):
        values = [evaluation.value(metric) for evaluation in evaluations]
        metrics[metric] = {
            "mean": fmean(values),
            "deviation": stdev(values) if len(values) > 1 else 0.0,
            "seeds": [
                {"seed": seed, "value": value, "interval": evaluation.interval(metric)}
                for seed, (value, evaluation) in enumerate(zip(values, evaluations, strict=True))
            ],
        }
    shown = settings.shown()
    paths = {name: shown[name]["path"] for name in ("input", "test", "final")}
    return {"trial": best.number + 1, "settings": best.trained, "metrics": metrics, **paths}
