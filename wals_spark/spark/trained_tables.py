"""Trains on prepared blocks and writes the tables of a version: factors, their Gramians, weights of items, events."""

from __future__ import annotations

import logging

from wals_spark.arrays.histogram import Histogram
from wals_spark.arrays.types import Float64Array
from wals_spark.run.events import HalfIteration
from wals_spark.run.faults import fault_point
from wals_spark.run.objective_summary import describe_weights
from wals_spark.run.phases import Phases
from wals_spark.run.progress import describe_kept, progress
from wals_spark.settings.resolved import ResolvedConfig
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.model.factor_tables import write_factors, write_item_weights
from wals_spark.spark.model.open import ModelVersion
from wals_spark.spark.model.publish import event_log, version_folder
from wals_spark.spark.prepared import Prepared
from wals_spark.spark.runs import Run
from wals_spark.spark.sample_evaluation import SampleEvaluator
from wals_spark.spark.storage import GRAMIANS
from wals_spark.spark.training.alignment import rotation_towards
from wals_spark.spark.training.recovery import MAX_ATTEMPTS, is_lost_with_executor, train
from wals_spark.spark.training.state import Listeners, Trained, WarmStart

logger = logging.getLogger("wals_spark")


class TrainedTables:
    """The tables of a run's version; ``weights_summary`` says in words what the observations weigh, once trained."""

    def __init__(
        self,
        run: Run,
        prepared: Prepared,
        config: ResolvedConfig,
        warm_start: WarmStart | None = None,
        *,
        align_with: str = "",
    ) -> None:
        self.weights_summary: list[str] = []
        self._run = run
        self._prepared = prepared
        self._config = config
        self._objectives = prepared.objectives(config)
        self._warm_start = warm_start
        self._folder = version_folder(run.version)
        self._align_with = align_with
        self._rotation: Float64Array | None = None

    def written(self, evaluator: SampleEvaluator | None, phases: Phases) -> Trained:
        """Train and write the tables; again, from the last checkpoint, if an executor takes the factors with it."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            trained = self._trained(evaluator)
            phases.end("train")
            fault_point("after_training")
            if trained.kept.metric is not None:
                logger.info("%s", describe_kept(trained.kept, trained.events[-1], self._config.held_out_metric))
            self._run.step("write")
            try:
                self._write(trained)
            except Exception as error:
                trained.unpersist()
                if attempt == MAX_ATTEMPTS or not is_lost_with_executor(error):
                    raise
                logger.warning("factors were lost with an executor while tables were written; they are trained again")
            else:
                phases.end("write")
                return trained
        raise AssertionError("unreachable")

    def aligned(self, target: ModelVersion | None) -> dict[str, str]:
        """What the manifest says of a rotation."""
        return {} if target is None or self._rotation is None else {"aligned_with": target.version}

    def _trained(self, evaluator: SampleEvaluator | None) -> Trained:
        """Train with events logged and shown."""
        run, blocks, config = self._run, self._prepared.blocks, self._config
        logger.info(
            "%d blocks of %s users and %d blocks of %s items from %s observations",
            blocks.users.n_blocks, f"{blocks.users.rows:,}", blocks.items.n_blocks, f"{blocks.items.rows:,}",
            f"{blocks.counts.observations:,}",
        )  # fmt: skip
        with (
            event_log(run.storage, self._folder, run.check) as log,
            progress(2 * config.train.max_iter) as show,
        ):

            def on_half_iteration(events: list[HalfIteration]) -> None:
                log(events)
                show(events[-1])
                run.step(f"half-iteration {len(events)}/{events[-1].planned}", now=False)

            listeners = Listeners(self._describe_weights, on_half_iteration, evaluator=evaluator)
            return train(blocks, self._objectives, config.train, listeners, run.checkpoints(), self._warm_start)

    def _describe_weights(self, weights: Histogram) -> None:
        mean_rating = self._prepared.blocks.counts.ratings.mean
        self.weights_summary[:] = describe_weights(weights, self._objectives, mean_rating)
        for line in self.weights_summary:
            logger.info("%s", line)

    def _write(self, trained: Trained) -> None:
        """Write factor tables, their Gramians and, where popularity weighs, the weights of items."""
        storage, folder, blocks = self._run.storage, self._folder, self._prepared.blocks
        gramians = {}
        if self._align_with:
            rank = self._config.train.rank
            self._rotation = rotation_towards(blocks, trained.item_factors, self._align_with, rank)
        for side, factors, table in (
            (blocks.users, trained.user_factors, "user_factors"),
            (blocks.items, trained.item_factors, "item_factors"),
        ):
            self._run.check()
            storage.delete_tree(folder, table)  # of an attempt that lost the factors
            gramians[side.name] = write_factors(side, factors, storage.path(folder, table), self._rotation)
            fault_point(f"after_{table}")
        trained.unpersist()
        storage.replace(as_json(gramians), folder, GRAMIANS)
        objective = self._objectives["items"]
        if objective.item_weight.function != "none":
            write_item_weights(blocks.items, objective, storage.path(folder, "item_weights"))
