"""Interactions prepared once, for one training or for several with other settings: what `fit` without a path does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from pyspark.sql import DataFrame

from wals_spark.run.events import as_jsonl
from wals_spark.run.manifest import TrainingRun, sealed, training_manifest
from wals_spark.run.objective_summary import describe_weights
from wals_spark.run.phases import Phases
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.settings.train import Config
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.model.in_memory import in_memory
from wals_spark.spark.model.open import IdTypes, ModelVersion, unfinished_version
from wals_spark.spark.model.publish import new_version, version_folder
from wals_spark.spark.prepared import Prepared, build, check_input
from wals_spark.spark.runs import Run, opened_run
from wals_spark.spark.scratch import Scratch
from wals_spark.spark.small_training import SmallData, may_be_small, small_data
from wals_spark.spark.storage import EVENTS, GRAMIANS, MANIFEST, MARK
from wals_spark.spark.train import Outcome, describe, train_into, training_run

logger = logging.getLogger("wals_spark")


class PreparedInteractions:
    """Checked interactions and their blocks, which trainings share whose settings read the interactions alike."""

    def __init__(self, raw: DataFrame, config: Config, small: SmallData | None, work_dir: str) -> None:
        self._raw = raw
        self._work_dir = work_dir
        self._config = config
        self._small = small
        self._lock = Lock()
        self._large: tuple[Prepared, Scratch] | None = None
        self.seconds: dict[str, float] = {}  # of preparing, by phase
        if small is None:
            self._blocks()

    def train(self, config: Config, scratch: Scratch) -> ModelVersion:
        """Train with settings and write the version; any number of threads may do so at once.

        Raises
        ------
        TrainingError
            If the loss rises or a row has no finite solution.
        """
        storage, phases = scratch.driver_storage, Phases()
        with opened_run(storage.spark, config, storage, exclusive=False) as run:
            with new_version(storage, run.version) as folder:
                document = training_manifest(self._trained(run, phases))
                # Without its files, their checksums and a report: nobody else reads it, and `copy_version` adds them.
                storage.replace(sealed(document, []), folder, MANIFEST)
                storage.delete_tree(folder, MARK)
            version = unfinished_version(storage, run.version, document, id_types=self._id_types)
            return version if scratch.is_shared else in_memory(version)

    def _trained(self, run: Run, phases: Phases) -> TrainingRun:
        if self._small is not None:
            chosen = self._small.prepared.resolved(run.config)
            if self._small.fits(chosen):
                phases.seconds.update(self.seconds)
                return _train_small_into(run, self._small, chosen, phases)
        prepared = self._blocks()
        phases.seconds.update(self.seconds)
        return train_into(run, prepared, phases)

    @property
    def _id_types(self) -> IdTypes:
        """The types of the ids of users and of items."""
        prepared = self._small.prepared if self._small is not None else self._blocks()
        return prepared.blocks.users.id_type, prepared.blocks.items.id_type

    def _blocks(self) -> Prepared:
        """The blocks on storage, built when they are first needed."""
        with self._lock:
            if self._large is None:
                phases, work = Phases(), Scratch(self._raw.sparkSession, self._work_dir)
                folder = work.storage.path("blocks")
                interactions = check_input(self._raw, self._config)
                phases.end("read and check")
                self._large = build(interactions, self._config, folder), work
                phases.end("build blocks")
                self.seconds = phases.seconds
            return self._large[0]


def is_plain(config: Config) -> bool:
    """Whether a training needs nothing but its interactions: no held-out ones, no negatives, and no other model."""
    train = config.train
    own = train.keep == "last" and train.evaluate_every == 1 and train.align == "none" and not train.warm_start
    return own and not config.held_out.given and not train.negatives.per_user


@contextmanager
def prepared_interactions(raw: DataFrame, config: Config, work_dir: str = "") -> Iterator[PreparedInteractions]:
    """Check interactions, and build their blocks, which go at the end of the ``with``; the settings are `is_plain`.

    Blocks that are too large for one task are in a folder below ``work_dir``, or where `Scratch` finds one.

    Raises
    ------
    ConfigError, InputError
        If the interactions cannot be used.
    """
    if not may_be_small(raw, config):
        yield PreparedInteractions(raw, config, None, work_dir)
        return
    phases = Phases()
    with small_data(raw, config) as small:
        phases.end("check and build blocks")
        prepared = PreparedInteractions(raw, config, small, work_dir)
        if small is not None:
            prepared.seconds = phases.seconds
        yield prepared


def _train_small_into(run: Run, small: SmallData, chosen: ResolvedConfig, phases: Phases) -> TrainingRun:
    """Everything of a version but its manifest and report, as `train_into` does for data of any size."""
    prepared, storage, folder = small.prepared, run.storage, version_folder(run.version)
    summary = describe(run.config, chosen, prepared.blocks.counts)
    trained = small.train(chosen)
    phases.end("train")
    of_weights = describe_weights(trained.weights, prepared.objectives(chosen), prepared.blocks.counts.ratings.mean)
    for line in of_weights:
        logger.info("%s", line)
    for side, files in trained.tables.items():
        for number, content in enumerate(files):
            storage.replace_bytes(content, folder, f"{side[:-1]}_factors", f"part-{number:05d}.parquet")
    storage.replace(as_json(trained.gramians), folder, GRAMIANS)
    storage.replace(as_jsonl(trained.events), folder, EVENTS)
    phases.end("write")
    last = trained.events[-1]
    outcome = Outcome(last, last.iteration, trained.stopped_by, [*summary, *of_weights])
    return training_run(run, prepared, chosen, outcome, phases)
