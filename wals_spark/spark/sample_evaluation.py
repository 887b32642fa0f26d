"""Evaluates a training while it runs: after an iteration, on a sample of users with held-out interactions.

The driver has what the sample's users hold out and have seen, a megabyte or so. Their rows come with the summaries of
the half-iteration that solves them; one small job finds their best items in each block of items.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark import SparkContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.types import Float32Array, Int64Array
from wals_spark.errors import ConfigError, InputError
from wals_spark.evaluation.metrics import Measures
from wals_spark.evaluation.user_batch import Pairs
from wals_spark.evaluation.user_sample import UserSample
from wals_spark.settings.held_out import HeldOutOfTraining
from wals_spark.settings.train import Config
from wals_spark.spark.checking import Interactions
from wals_spark.spark.columns import column_of
from wals_spark.spark.held_out import with_plain_ids
from wals_spark.spark.histories import refuse_other_type
from wals_spark.spark.sample_tasks import BestItems, MergedBestItems, RankTask, find_ids, pairs_of_users, rank_block
from wals_spark.spark.training.build import Blocks
from wals_spark.spark.training.half_iteration import Side
from wals_spark.spark.training.rdd import KeyedRecords, colocated_empty, materialize
from wals_spark.spark.training.sides import BlockedSide, read_records

logger = logging.getLogger("wals_spark")


Id = str | int


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


@contextmanager
def evaluator_of(
    tested: Interactions | None, interactions: Interactions, blocks: Blocks, settings: HeldOutOfTraining
) -> Iterator[SampleEvaluator | None]:
    """The evaluator that the settings describe, or None without held-out interactions."""
    if tested is None:
        yield None
        return
    evaluator = sample_evaluator(
        tested.table, interactions.table, blocks, settings.measures, users=settings.users, seed=settings.seed
    )
    try:
        yield evaluator
    finally:
        evaluator.destroy()


class SampleEvaluator:
    """The mean of a metric over a sample of users, for current factors.

    Attributes
    ----------
    wanted : dict of int to int64 array
        The rows of the sample's users in each block of users, ascending: what `value` needs the factors of.
    """

    def __init__(
        self, sc: SparkContext, sample: UserSample, wanted: Mapping[int, Int64Array], measures: Measures
    ) -> None:
        self.wanted = wanted
        self._sc = sc
        self._sample = sample
        self._sent = self._sc.broadcast(sample)
        self._measures = measures

    def value(self, users: Float32Array, items: Side) -> float:
        """The metric for the factors of the sample's users, in the order of ``wanted``, and of all items."""
        self._sc.setJobDescription("evaluate users with held-out interactions")
        task = RankTask(self._sent, users, max(self._measures.ks), self._sc.accumulator({}, MergedBestItems()))
        best: BestItems = {0: None}
        if items.cached is not None:
            best = _ranked(colocated_empty(items.current_factors), replace(task, cached=items.cached))
        if None in best.values():
            best = _ranked(items.current_factors, task)
        parts = [part for _, part in sorted(best.items()) if part is not None]
        (value,) = self._sample.metrics(parts, self._measures).values()
        return value

    def destroy(self) -> None:
        """Let executors drop the sample."""
        self._sent.destroy()


def _ranked(records: KeyedRecords, task: RankTask) -> BestItems:
    """Run the task for each block."""
    materialize(records.mapPartitionsWithIndex(partial(rank_block, task=task)))
    return task.best.value


def sample_evaluator(
    test: DataFrame, training: DataFrame, blocks: Blocks, measures: Measures, *, users: int, seed: int
) -> SampleEvaluator:
    """Draw up to ``users`` users of the checked interactions of ``test``, by a hash of their ids and the seed.

    Users who are not in ``training``, the checked interactions that the ``blocks`` have, are left out, as are held-out
    pairs that are in it; a held-out item that is not in it is never found.

    Raises
    ------
    InputError
        If ids are of other types than in training, or no user is left.
    """
    test, training = with_plain_ids(test), with_plain_ids(training)
    for role in ("user", "item"):
        refuse_other_type(test.schema[role].dataType, training.schema[role].dataType, setting=f"held_out.{role}")
    sc = blocks.users.spark.sparkContext
    sc.setJobDescription("draw users with held-out interactions")
    drawn = _drawn(test, training, users, seed)
    found_users = _found(blocks.users, [user.id for user in drawn])
    number_of = found_users.number_of
    judged = sorted((user for user in drawn if user.id in number_of and user.held_out), key=lambda u: number_of[u.id])
    logger.info(
        "%s users with held-out interactions are evaluated in training, %s of those drawn are not: they are not in the "
        "training interactions, or what they hold out is there", f"{len(judged):,}", f"{len(drawn) - len(judged):,}",
    )  # fmt: skip
    if not judged:
        raise InputError("held_out: no user is left to be evaluated")
    items = _found(blocks.items, sorted({item for user in judged for item in (*user.held_out, *user.seen)}))
    held_out, seen = (_pairs(lists, items) for lists in ([u.held_out for u in judged], [u.seen for u in judged]))
    sample = UserSample(len(judged), held_out, seen, items.first)
    wanted = found_users.by_block(np.array([number_of[user.id] for user in judged]))
    return SampleEvaluator(sc, sample, wanted, measures)


class _DrawnUser(NamedTuple):
    id: Id
    held_out: tuple[Id, ...]
    seen: tuple[Id, ...]


def _drawn(test: DataFrame, training: DataFrame, users: int, seed: int) -> list[_DrawnUser]:
    """The users of the sample, what they hold out beyond what they have seen, and what they have seen.

    They are the users of the test with the smallest hashes. One pass over each table finds their pairs.
    """
    by_hash = F.xxhash64(F.lit(seed), F.col("user").cast("string")).alias("hashed")
    hash_of_user, held_out = _pairs_of_users(test.select("user", "item", by_hash), users)
    limit = sorted(set(hash_of_user.values()))[:users][-1]
    drawn = [user for user, hashed in hash_of_user.items() if hashed <= limit]
    _, seen = _pairs_of_users(training.select("user", "item", by_hash).where(F.col("hashed") <= limit), users)
    return [
        _DrawnUser(user, tuple(sorted(held_out[user].difference(seen[user]))), tuple(sorted(seen[user])))
        for user in drawn
    ]


def _pairs_of_users(pairs: DataFrame, users: int) -> tuple[dict[Id, int], dict[Id, set[Id]]]:
    """Hashes and items of users, at least of the ``users`` with the smallest hashes."""
    schema = T.StructType([T.StructField(f.name, T.ArrayType(f.dataType)) for f in pairs.schema.fields])
    hash_of_user: dict[Id, int] = {}
    items: dict[Id, set[Id]] = defaultdict(set)
    for row in pairs.mapInArrow(partial(pairs_of_users, users=users), schema).collect():
        hash_of_user.update(zip(row["user"], row["hashed"], strict=True))
        for user, item in zip(row["user"], row["item"], strict=True):
            items[user].add(item)
    return hash_of_user, items


class _Found(NamedTuple):
    """Ids in the blocks of a side, whose rows are numbered block by block.

    ``number_of`` has the ids that there are; block b has the rows ``first[b]`` to ``first[b + 1]``.
    """

    number_of: dict[Id, int]
    first: Int64Array

    def by_block(self, numbers: Int64Array) -> dict[int, Int64Array]:
        """Rows of blocks, by block; ``numbers`` are ascending."""
        blocks = np.searchsorted(self.first, numbers, side="right") - 1
        return {int(block): numbers[blocks == block] - self.first[block] for block in np.unique(blocks)}


def _found(side: BlockedSide, ids: Sequence[Id]) -> _Found:
    """Look ids up in all blocks, where their records lie: nothing is shuffled."""
    sc = side.spark.sparkContext
    sent = sc.broadcast(pa.array(ids))
    found = read_records(side.spark, side.path, "ids", side.n_blocks).map(partial(find_ids, wanted=sent)).collect()
    sent.destroy()
    rows = np.zeros(side.n_blocks, dtype=np.int64)
    for block, end, *_ in found:
        rows[block] = max(rows[block], end)
    first = np.concatenate([[0], np.cumsum(rows)])
    number_of = {
        ids[position]: int(first[block] + row)
        for block, _, positions, rows_of_ids in found
        for position, row in zip(positions, rows_of_ids, strict=True)
    }
    return _Found(number_of, first)


def _pairs(lists: Iterable[Sequence[Id]], items: _Found) -> Pairs:
    """Each list's user, by its place, and the numbers of its items."""
    pairs = [(user, items.number_of.get(item, -1)) for user, listed in enumerate(lists) for item in listed]
    users, numbers = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Pairs(users, numbers.astype(np.int32))
