"""What all trials of a search share: blocks, and how current factors are evaluated on held-out interactions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import msgspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from wals_spark.errors import ConfigError, InputError
from wals_spark.evaluation.results import Evaluation
from wals_spark.evaluation.user_batch import Protocol
from wals_spark.objective.objective import Objective
from wals_spark.settings.train import Config
from wals_spark.settings.tune import TuneSettings
from wals_spark.spark.checking import check
from wals_spark.spark.evaluate import evaluate
from wals_spark.spark.hard_negatives import with_negatives
from wals_spark.spark.held_out import HeldOut, PopularityOptions, gathered, with_plain_ids
from wals_spark.spark.histories import in_type_of, partitions, refuse_other_type
from wals_spark.spark.model.factor_tables import write_factors, write_item_weights
from wals_spark.spark.model.publish import WORK
from wals_spark.spark.negatives import read_candidates
from wals_spark.spark.prepared import Prepared, build, check_input
from wals_spark.spark.reading import read
from wals_spark.spark.sample_drawing import draw_users
from wals_spark.spark.sample_evaluation import (
    SampleEvaluator,
    candidate_sample,
    ranked_sample,
    sample_evaluator,
)
from wals_spark.spark.storage import Storage
from wals_spark.spark.training.batch_fold_in import fold_in_users
from wals_spark.spark.training.build import build_blocks
from wals_spark.spark.training.rdd import KeyedRecords, unpersist
from wals_spark.spark.training.stored_blocks import Blocks

logger = logging.getLogger("wals_spark")


@dataclass(frozen=True)
class Search:
    """Blocks to train on, users to evaluate, and, for strong generalisation, blocks of users to fold in.

    ``running`` evaluates running trials by the metric that is optimised; None where only `evaluate` can. ``data``
    counts users, items, observations and rows of the test.
    """

    storage: Storage
    settings: TuneSettings
    prepared: Prepared
    folded_in: Blocks | None
    held_out: HeldOut
    running: SampleEvaluator | None
    data: dict[str, int]

    def evaluate(
        self,
        user_factors: KeyedRecords,
        item_factors: KeyedRecords,
        objectives: Mapping[str, Objective],
        protocol: Protocol,
    ) -> Evaluation:
        """Evaluate current factors; of users who are folded in, those that the items give them."""
        blocks = self.prepared.blocks
        gramian = write_factors(blocks.items, item_factors, self._path("item_factors"))
        if self.folded_in is None:
            write_factors(blocks.users, user_factors, self._path("user_factors"))
        else:
            of_users, item_weights = objectives["users"], None
            if of_users.item_weight.function != "none":
                item_weights = self._path("item_weights")
                write_item_weights(blocks.items, objectives["items"], item_weights)
            folded_in = fold_in_users(
                self.folded_in,
                item_factors=self._path("item_factors", new=False),
                item_weights=item_weights,
                gramian=gramian,
                objective=of_users,
            )
            write_factors(self.folded_in.users, folded_in, self._path("user_factors"))
            unpersist(folded_in)
        users, items = (self._table(name) for name in ("user_factors", "item_factors"))
        return evaluate(self.held_out, users, items, width=len(gramian), protocol=protocol)

    def _path(self, name: str, *, new: bool = True) -> str:
        if new:
            self.storage.delete_tree(WORK, name)
        return self.storage.path(WORK, name)

    def _table(self, name: str) -> DataFrame:
        return self.storage.spark.read.parquet(self._path(name, new=False))


@contextmanager
def prepared_search(spark: SparkSession, storage: Storage, settings: TuneSettings) -> Iterator[Search]:
    """Check and build blocks, and gather what is held out: once for all trials, and deleted at the end."""
    config, test = settings.of_trial({}), settings.test
    storage.delete_tree(WORK)  # of a search that was killed
    try:
        interactions = check_input(read(spark, settings.input), config)
        tested = check(read(spark, test, section="test"), test, section="test")
        candidates = None
        if settings.candidates.path:
            listed = settings.candidates
            candidates = check(read_candidates(spark, listed), listed, section="candidates").table
        negatives = storage.path(WORK, "negatives")
        prepared = build(with_negatives(interactions, config.train.negatives, negatives), config, storage.path(WORK))
        seen, folded_in, data = interactions.table, None, _counts(prepared)
        if settings.fold_in.path:
            seen, folded_in = _to_fold_in(spark, settings, config, interactions.table, storage.path(WORK, "fold_in"))
            data["fold_in_observations"] = folded_in.counts.observations
        data["test_rows"] = tested.rows
        logger.info("built blocks of %s", ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in data.items()))
        if (settings.tune.measure[1] or 0) > data["items"]:
            raise ConfigError(f"tune.metric = {settings.tune.metric}: there are no more than {data['items']} items")
        with gathered(
            tested.table,
            seen,
            candidates,
            n_partitions=partitions(data["users"], data["items"], spark.sparkContext.defaultParallelism),
            duplicates=test.duplicates,
            popularity=PopularityOptions(seed=settings.evaluate.seed, with_popularity=False),
        ) as held_out:
            running = _running_evaluator(settings, prepared.blocks, tested.table, seen, candidates)
            try:
                yield Search(storage, settings, prepared, folded_in, held_out, running, data)
            finally:
                if running is not None:
                    running.destroy()
    finally:
        storage.delete_tree(WORK)


def _running_evaluator(
    settings: TuneSettings, blocks: Blocks, test: DataFrame, seen: DataFrame, candidates: DataFrame | None
) -> SampleEvaluator | None:
    """The evaluator of a part of the users, or None where they are folded in, or where the metric has no k."""
    if settings.tune.pruner == "none" or settings.fold_in.path or settings.tune.measure[1] is None:
        return None
    test, seen = with_plain_ids(test), with_plain_ids(seen)
    for side in ("user", "item"):
        refuse_other_type(test.schema[side].dataType, seen.schema[side].dataType, setting=f"test.{side}")
    if candidates is not None:
        candidates = with_plain_ids(candidates)
    drawn = draw_users(test, seen, settings.tune.users, settings.tune.seed, candidates)
    users = [user for user in drawn if user.seen and user.unseen]
    if not users:
        return None  # and the first complete trial says why
    measures, ties = settings.intermediate_protocol.measures, settings.intermediate_protocol.ties
    if candidates is not None:
        return sample_evaluator(users, blocks, partial(candidate_sample, measures=measures, ties=ties))
    return sample_evaluator(users, blocks, partial(ranked_sample, measures=measures))


def _counts(prepared: Prepared) -> dict[str, int]:
    return {name: prepared.counts[name] for name in ("users", "items", "observations")}


def _to_fold_in(
    spark: SparkSession, settings: TuneSettings, config: Config, trained_on: DataFrame, folder: str
) -> tuple[DataFrame, Blocks]:
    """The interactions of users to fold in, and their blocks, which have the items that trials are trained on."""
    source = msgspec.structs.replace(config, input=settings.fold_in)
    raw = read(spark, settings.fold_in, section="fold_in")
    checked = check(raw, source.input, implicit=config.train.implicit, decay=config.decay(), section="fold_in")
    items = trained_on.select(F.col("item").alias("id")).distinct()
    table = in_type_of(checked.table, "item", items, setting=f"fold_in.item = {source.input.item}")
    table = table.join(items, table["item"] == items["id"], "left_semi")
    known = checked.with_rows(table)
    if not known.rows:
        raise InputError(f"{source.input.named('fold_in')}: none of the items is one of those in input.path")
    return table, build_blocks(known, source, folder)
