"""Interactions checked, and their blocks built: from the source, or from what an earlier attempt at a run has built."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from pyspark.sql import DataFrame

from wals_spark.errors import ConfigError, InputError
from wals_spark.objective.objective import Objective
from wals_spark.run.faults import fault_point
from wals_spark.run.phases import Phases
from wals_spark.run.sealed import read_sealed, sealed_json
from wals_spark.settings.resolved import ResolvedConfig, resolved
from wals_spark.settings.train import Config
from wals_spark.spark.causes import JAVA_ERRORS, lasting_causes
from wals_spark.spark.checking import Interactions, check
from wals_spark.spark.hard_negatives import with_negatives
from wals_spark.spark.reading import unreadable_is_refused
from wals_spark.spark.runs import Run
from wals_spark.spark.sample_drawing import DrawnUser
from wals_spark.spark.sample_evaluation import RawTables, judged_users
from wals_spark.spark.training.build import build_blocks
from wals_spark.spark.training.sides import unreadable_files
from wals_spark.spark.training.stored_blocks import BlockPlan, Blocks, open_blocks

logger = logging.getLogger("wals_spark")

_BLOCKS, _INDEX = "blocks", "index.json"


class Prepared(NamedTuple):
    """The blocks of checked interactions, of which ``dropped`` rows were bad, and the users to evaluate training by."""

    blocks: Blocks
    dropped: int
    judged: Sequence[DrawnUser] = ()

    def resolved(self, config: Config, times: Mapping[str, float] | None = None) -> ResolvedConfig:
        """The settings with a number, for this data, in place of each ``auto``; ``times`` has factors of these."""
        return resolved(config, self.blocks.counts, times=times or {})

    def objectives(self, config: ResolvedConfig) -> dict[str, Objective]:
        """What is minimised for the rows of each side, with all that only the data can tell."""
        return config.objectives(self.blocks.counts)

    @property
    def counts(self) -> dict[str, int]:
        """What a manifest says of the interactions."""
        blocks = self.blocks
        return {
            "users": blocks.users.rows,
            "items": blocks.items.rows,
            "observations": blocks.counts.observations,
            "duplicates_merged": blocks.merged,
            "rows_dropped": self.dropped,
            **({"negatives": blocks.plan.negatives} if blocks.plan.negatives else {}),
        }


def check_input(raw: DataFrame, config: Config) -> Interactions:
    """Check interactions to train on, or to fold in, by the settings."""
    interactions = check(raw, config.input, implicit=config.train.implicit, decay=config.decay())
    source = config.input.named("input") if config.input.path else "the DataFrame"
    logger.info("read %s rows of %s", f"{interactions.rows:,}", source)
    return interactions


class CheckedTables(NamedTuple):
    """Interactions to train on, and those to evaluate training by, if there are any."""

    training: Interactions
    held_out: Interactions | None = None


def check_tables(tables: RawTables, config: Config) -> CheckedTables:
    """Check the interactions of a training."""
    training, raw = check_input(tables.training, config), tables.held_out
    if raw is None:
        return CheckedTables(training)
    return CheckedTables(training, check(raw, config.held_out, implicit=config.train.implicit, section="held_out"))


def prepare(raw: DataFrame, config: Config, folder: str) -> Prepared:
    """Check interactions, and build their blocks below ``folder``."""
    return build(check_input(raw, config), config, folder)


def build(interactions: Interactions, config: Config, folder: str) -> Prepared:
    """Build the blocks of checked interactions below ``folder``; reads their table again."""
    with unreadable_is_refused(config.input, "input", writing=True):
        return Prepared(build_blocks(interactions, config, folder), interactions.dropped)


def prepare_run(run: Run, tables: Callable[[], CheckedTables], phases: Phases) -> Prepared:
    """The blocks of a run: those that an earlier attempt has built, or else of the tables, which are checked then.

    A source may have changed since, and so may the number of cores, which blocks and with them bits depend on.

    Raises
    ------
    ConfigError, InputError
        If the tables cannot be used; if they are DataFrames and other rows than in the earlier attempt; or if the
        settings ask for blocks to go on with and there are none.
    """
    if run.resumes:
        prepared = _saved(run, tables)
        phases.end("open blocks")
        if prepared is not None:
            return prepared
    if run.config.checkpoint.resume == "must":
        raise ConfigError(
            f"checkpoint.resume = must: run {run.name} died before its blocks were built, so there is nothing to go on "
            "with; set checkpoint.resume = auto"
        )
    return _built(run, tables, phases)


def _built(run: Run, tables: Callable[[], CheckedTables], phases: Phases) -> Prepared:
    config, work = run.config, run.work
    for name in (_BLOCKS, "checkpoints", "negatives"):
        work.delete_tree(run.folder, name)
    run.step("read and check")
    interactions, held_out = tables()
    judged = judged_users(held_out, interactions, config)
    phases.end("read and check")
    fault_point("after_check")
    run.step("build blocks")
    all_rows = with_negatives(interactions, config.train.negatives, work.path(run.folder, "negatives"))
    if config.train.negatives.per_user:
        phases.end("draw negatives")
    prepared = build(all_rows, config, work.path(run.folder, _BLOCKS))._replace(judged=judged)
    _save(run, prepared, _data_of(interactions))
    phases.end("build blocks")
    fault_point("after_blocks")
    return prepared


def _data_of(interactions: Interactions) -> list[int]:
    """What tells one table of interactions from another."""
    return [interactions.rows, interactions.dropped, interactions.fingerprint or 0]


def _save(run: Run, prepared: Prepared, data: list[int]) -> None:
    """Write what is known of the blocks besides their files: with it they are complete."""
    if not run.is_recorded:
        return
    document = {
        "format": "wals_spark blocks",
        "plan": prepared.blocks.plan.as_document(),
        "dropped": prepared.dropped,
        "data": data,
        "judged": msgspec.to_builtins(list(prepared.judged)),
        "files": run.work.list_files(run.folder, _BLOCKS),
    }
    run.work.force(run.folder, _BLOCKS)
    run.work.replace(sealed_json(document), run.folder, _BLOCKS, _INDEX)


def _saved(run: Run, tables: Callable[[], CheckedTables]) -> Prepared | None:
    """The blocks that an earlier attempt has built, if they are whole."""
    document = _whole(run)
    if document is None:
        return None
    spark, folder = run.storage.spark, run.work.path(run.folder, _BLOCKS)
    if not run.config.input.path:
        now = _data_of(tables().training)
        if now != document["data"]:
            raise ConfigError(
                f"run {run.name} was started with another DataFrame ({document['data'][0]} rows, now {now[0]}; the "
                "rows differ): pass that one, or set another run.id, or checkpoint.resume = never"
            )
    blocks = open_blocks(spark, folder, BlockPlan.from_document(document["plan"]))
    logger.info("going on with run %s, with the blocks that it has built", run.name)
    return Prepared(blocks, document["dropped"], msgspec.convert(document["judged"], list[DrawnUser]))


def _whole(run: Run) -> dict[str, Any] | None:
    work, folder = run.work, f"{run.folder}/{_BLOCKS}"
    if not work.exists(folder, _INDEX):
        return None
    try:
        document = read_sealed(work.read_text(folder, _INDEX), work.path(folder, _INDEX))
    except InputError as error:
        logger.warning("blocks are built again: %s", error)
        return None
    files = {path: size for path, size in work.list_files(folder).items() if path != _INDEX}
    paths = [work.path(folder, side) for side in ("users", "items")]
    faults = [work.path(folder, path) for path, size in document["files"].items() if files.get(path) != size]
    try:
        faults = faults or [fault for path in paths for fault in unreadable_files(work.spark, path)]
    except JAVA_ERRORS as error:  # a local file system has checksums of its own
        faults = [str(lasting_causes(error))]
    if faults:
        logger.warning("blocks are built again, one is not as it was written: %s", faults[0])
        return None
    return document
