"""Evaluates a training while it runs: after an iteration, on a sample of users with held-out interactions.

The driver has what the sample's users hold out and have seen, a megabyte or so. Their rows come with the summaries of
the half-iteration that solves them; one small job ranks each block of items for them, or predicts their ratings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from pyspark import SparkContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from wals_spark.arrays.types import Float32Array, Int64Array
from wals_spark.errors import ConfigError, InputError
from wals_spark.evaluation.metrics import RATING_METRICS, Measures
from wals_spark.evaluation.user_batch import Pairs
from wals_spark.evaluation.user_sample import CandidateSample, RankedSample, RatedSample, UserSample
from wals_spark.ranking.top_k import Ties
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.train import Config
from wals_spark.spark.checking import Interactions
from wals_spark.spark.columns import column_of
from wals_spark.spark.held_out import with_plain_ids
from wals_spark.spark.histories import refuse_other_type
from wals_spark.spark.sample_drawing import DrawnUser, Found, Id, draw_users, find
from wals_spark.spark.sample_tasks import BlockResults, MergedResults, SampleTask, evaluate_block
from wals_spark.spark.training.half_iteration import Side
from wals_spark.spark.training.rdd import KeyedRecords, colocated_empty, materialize
from wals_spark.spark.training.stored_blocks import Blocks

logger = logging.getLogger("wals_spark")


class RawTables(NamedTuple):
    """Raw interactions to train on, and those to evaluate the training by, if there are any."""

    training: DataFrame
    held_out: DataFrame | None


def raw_tables(raw: DataFrame, held_out: DataFrame | None, config: Config) -> RawTables:
    """The interactions of a training: those given, or a share of ``raw`` held out.

    Raises
    ------
    ConfigError
        If both are held out, or neither and the best iteration is to be kept.
    """
    if held_out is not None and config.held_out.share:
        raise ConfigError("held_out.share: interactions are held out already; give them, or a share of the input")
    tables = split_off(raw, config) if held_out is None else RawTables(raw, held_out)
    if tables.held_out is None and config.train.keep == "best":
        raise ConfigError("train.keep = best: by which interactions? Pass held_out, or set held_out.share")
    return tables


def split_off(raw: DataFrame, config: Config) -> RawTables:
    """Hold out the share of pairs that the settings say, none by default: all rows of a pair, or none of them.

    By hashes of the ids as they are read, so that every pass over the source agrees. A row without an id is for
    training, where it is refused.

    Raises
    ------
    InputError
        If a column of ids is missing.
    """
    share, seed = config.held_out.share, config.held_out.seed
    if not share:
        return RawTables(raw, None)
    ids = [column_of(raw, f"input.{role}", getattr(config.input, role)).column for role in ("user", "item")]
    uniform = F.shiftrightunsigned(F.xxhash64(F.lit(seed), *(column.cast("string") for column in ids)), 11) * 2.0**-53
    is_held_out = F.coalesce((uniform < share) & ids[0].isNotNull() & ids[1].isNotNull(), F.lit(False))
    return RawTables(raw.where(~is_held_out), raw.where(is_held_out))


def judged_users(tested: Interactions | None, interactions: Interactions, config: Config) -> list[DrawnUser]:
    """Draw users by a hash of their ids; none without held-out interactions.

    Users who are not in the checked ``interactions`` to train on are left out, and by a metric of ranks those who hold
    out nothing beyond what they have there.

    Raises
    ------
    InputError
        If ids are of other types than in training, or no user is left.
    """
    if tested is None:
        return []
    test, training = with_plain_ids(tested.table), with_plain_ids(interactions.table)
    for role in ("user", "item"):
        refuse_other_type(test.schema[role].dataType, training.schema[role].dataType, setting=f"held_out.{role}")
    test.sparkSession.sparkContext.setJobDescription("draw users with held-out interactions")
    drawn = draw_users(test, training, config.held_out.users, config.held_out.seed)
    of_ratings = config.held_out_metric in RATING_METRICS
    judged = [user for user in drawn if user.seen and (of_ratings or user.unseen)]
    why = "they are not in the training interactions" + ("" if of_ratings else ", or what they hold out is there")
    logger.info(
        "%s users with held-out interactions are evaluated in training, %s of those drawn are not: %s",
        f"{len(judged):,}", f"{len(drawn) - len(judged):,}", why,
    )  # fmt: skip
    if not judged:
        raise InputError(f"held_out: none of the {len(drawn):,} users drawn can be evaluated: {why}")
    return judged


@contextmanager
def evaluator_of(
    users: Sequence[DrawnUser], blocks: Blocks, config: ResolvedConfig
) -> Iterator[SampleEvaluator | None]:
    """The evaluator of some users, or None without any."""
    if not users:
        yield None
        return
    metric = config.held_out_metric
    if metric in RATING_METRICS:
        offset = config.objectives(blocks.counts)["users"].offset
        evaluator = sample_evaluator(users, blocks, partial(_rated, offset=offset, metric=metric))
    else:
        evaluator = sample_evaluator(users, blocks, partial(ranked_sample, measures=config.held_out.measures(metric)))
    try:
        yield evaluator
    finally:
        evaluator.destroy()


class SampleEvaluator:
    """A metric over a sample of users, for current factors.

    Attributes
    ----------
    wanted : dict of int to int64 array
        The rows of the sample's users in each block of users, ascending: what `value` needs the factors of.
    lower_is_better : bool
        Whether the metric is an error.
    """

    def __init__(self, sc: SparkContext, sample: UserSample, wanted: Mapping[int, Int64Array]) -> None:
        self.wanted = wanted
        self.lower_is_better = sample.lower_is_better
        self._sc = sc
        self._sample = sample
        self._sent = sc.broadcast(sample)

    def value(self, users: Float32Array, items: Side) -> float:
        """The metric for the factors of the sample's users, in the order of ``wanted``, and of all items."""
        self._sc.setJobDescription("evaluate users with held-out interactions")
        task = SampleTask(self._sent, users, self._sc.accumulator({}, MergedResults()))
        results: BlockResults = {0: None}
        if items.cached is not None:
            results = _results(colocated_empty(items.current_factors), replace(task, cached=items.cached))
        if None in results.values():
            results = _results(items.current_factors, task)
        return self._sample.metric({block: result for block, result in results.items() if result is not None})

    def destroy(self) -> None:
        """Let executors drop the sample."""
        self._sent.destroy()


def _results(records: KeyedRecords, task: SampleTask) -> BlockResults:
    """Run the task for each block."""
    materialize(records.mapPartitionsWithIndex(partial(evaluate_block, task=task)))
    return task.results.value


def sample_evaluator(
    users: Sequence[DrawnUser], blocks: Blocks, sample_of: Callable[[Sequence[DrawnUser], Found], UserSample]
) -> SampleEvaluator:
    """Find users who are in training, and all their items, in the blocks; ``sample_of`` makes a sample of them."""
    sc = blocks.users.spark.sparkContext
    sc.setJobDescription("find users with held-out interactions")
    found = find(blocks.users, [user.id for user in users])
    ordered = sorted(users, key=lambda user: found.number_of[user.id])
    ids = {item for user in users for item in (*user.seen, *dict(user.held_out), *user.candidates)}
    items = find(blocks.items, sorted(ids))
    wanted = found.by_block(np.array([found.number_of[user.id] for user in ordered]))
    return SampleEvaluator(sc, sample_of(ordered, items), wanted)


def ranked_sample(users: Sequence[DrawnUser], items: Found, *, measures: Measures) -> RankedSample:
    """Users whose held-out items are ranked among all that they have not seen; an unknown one is never found."""
    held_out, seen = _pairs([user.unseen for user in users], items), _pairs([user.seen for user in users], items)
    return RankedSample(len(users), held_out, seen, items.first, measures)


def candidate_sample(users: Sequence[DrawnUser], items: Found, *, measures: Measures, ties: Ties) -> CandidateSample:
    """Users whose held-out items are ranked among their candidates."""
    lists = ([user.unseen for user in users], [user.candidates for user in users])
    held_out, candidates = (_pairs(of_users, items) for of_users in lists)
    return CandidateSample(len(users), held_out, candidates, items.first, measures, ties)


def _rated(users: Sequence[DrawnUser], items: Found, *, offset: float, metric: str) -> RatedSample:
    """Users whose held-out ratings are predicted; those of unknown items are left out.

    Raises
    ------
    InputError
        If no item is known.
    """
    number_of = items.number_of
    rows = [
        (place, number_of[item], rating)
        for place, user in enumerate(users)
        for item, rating in user.held_out
        if item in number_of
    ]
    if not rows:
        raise InputError("held_out: none of the items is in the training interactions")
    of_users, numbers, ratings = (np.array(column) for column in zip(*rows, strict=True))
    return RatedSample(Pairs(of_users, numbers.astype(np.int32)), ratings, items.first, offset, metric)


def _pairs(lists: Iterable[Sequence[Id]], items: Found) -> Pairs:
    """Each list's user, by its place, and the numbers of its items, ascending for each user."""
    pairs = sorted((user, items.number_of.get(item, -1)) for user, listed in enumerate(lists) for item in listed)
    users, numbers = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Pairs(users, numbers.astype(np.int32))
