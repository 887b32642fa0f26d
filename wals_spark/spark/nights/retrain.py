"""A night: reads, judges, splits, trains from what is served, compares, and publishes or refuses; then forgets."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from wals_spark.errors import GateError, InputError
from wals_spark.nights.data_figures import REFERENCES, DataFigures, faults_of, has_nothing_new, read_figures
from wals_spark.nights.gate import GATE_FILE, GateFigures, decide, gate_document, is_new_anchor, read_gate_figures
from wals_spark.run.faults import fault_point
from wals_spark.run.history import HistoryEntry, served_versions
from wals_spark.run.manifest import read_manifest
from wals_spark.settings.retrain import RetrainSettings
from wals_spark.spark.model.history import append, last_entry, latest_entries
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.publish import version_folder
from wals_spark.spark.nights.comparison import Rivals, gate_figures
from wals_spark.spark.nights.drift import drift_between
from wals_spark.spark.nights.figures import figures_of, lift_of
from wals_spark.spark.nights.retain import remove_old
from wals_spark.spark.nights.snapshot import (
    Snapshot,
    beginning_of_test,
    checked_interactions,
    kept_snapshot,
    take_snapshot,
)
from wals_spark.spark.runs import Run, opened_run
from wals_spark.spark.storage import MANIFEST, Storage
from wals_spark.spark.train import Additions, train_in

logger = logging.getLogger("wals_spark")


def run_retrain(spark: SparkSession, settings: RetrainSettings) -> None:
    """Retrain the model that the settings name, once per name of a run.

    Raises
    ------
    GateError
        If the candidate is not served: it is kept with its figures.
    """
    storage = Storage(spark, settings.output.path)
    with opened_run(spark, settings.training, storage, night=settings) as run:
        Night(run, settings).retrain()


class Night:
    """One night, from what an earlier attempt at it has left to its end."""

    def __init__(self, run: Run, settings: RetrainSettings) -> None:
        self.run = run
        self.settings = settings
        self.storage = run.storage
        self.folder = version_folder(run.version)
        self.seen: HistoryEntry | None = None  # what was served when the night began
        self.served: ModelVersion | None = None
        self.snapshot: Snapshot | None = None

    def retrain(self) -> None:
        """All steps; those that are done already are passed over."""
        self.seen = last_entry(self.storage)
        if self.run.was_published or (self.run.is_complete and self.run.version in self._ever_served()):
            logger.info("run %s is done: version %s has passed the gate", self.run.name, self.run.version)
        else:
            self._open_served()
            candidate = self._candidate()
            if candidate is None:
                return
            figures = self._judge(candidate)
            self._publish(figures)
        self.run.step("retain")
        remove_old(self.storage, self.settings.retain, self.run.check)
        fault_point("after_retain")

    def _ever_served(self) -> list[str]:
        return served_versions(latest_entries(self.storage, 50))

    def _open_served(self) -> None:
        """Open what is served. If it is damaged, the last version before it that is whole is served from now on."""
        self.run.step("verify the served version")
        for version in served_versions(latest_entries(self.storage, 50)) if self.seen is not None else ():
            if not self.storage.exists(version_folder(version), MANIFEST):
                continue
            try:
                self.served = open_version(self.storage.spark, self.storage.root, version)
            except InputError as error:
                logger.warning("version %s cannot be used: %s", version, error)
                continue
            if self.seen is not None and version != self.seen.version:
                why = f"{self.seen.version} is damaged"
                logger.warning("%s, so version %s is served instead", why, version)
                self.run.check()
                self.seen = append(self.storage, self.seen, "rollback", version, why=why, anchor=version)
            return

    def _candidate(self) -> ModelVersion | None:
        """Tonight's model, complete and not served; None if the night is skipped."""
        if not self.run.is_complete:
            self.snapshot = kept_snapshot(self.run) or self._new_snapshot()
            if self.snapshot is None:
                return None
            additions = Additions(facts=self._facts)
            train_in(self.run, partial(self.snapshot.to_train_on, self.settings), additions)
        self.run.step("verify")
        return open_version(self.storage.spark, self.storage.root, self.run.version)

    def _new_snapshot(self) -> Snapshot | None:
        """Tonight's interactions, judged and kept; None if there is nothing new, and such nights are skipped."""
        interactions = checked_interactions(self.run, self.settings)
        self.run.step("judge the data")
        tonight = figures_of(interactions, self.served)
        self.run.note(details={**self.run.record.details, "data": tonight.as_record()})
        before, limits = self._published_figures(), self.settings.data
        if has_nothing_new(tonight, before[0] if before else None):
            message = f"no row is newer than those of version {self._served_name()}"
            if limits.empty == "refuse":
                raise InputError(f"{message}: has a day not arrived? (data.empty = skip skips such a night)")
            logger.info("%s: the night is skipped (data.empty = skip)", message)
            self.run.outcome = "skipped"
            self.run.note(message=message)
            return None
        faults = faults_of(tonight, before, limits, time.time())
        if not faults and self.served is not None and _has_lift(self.served):
            moment = beginning_of_test(interactions, self.settings)
            served_lift = lift_of(self.served, interactions.table.where(F.col("timestamp") > moment))
            tonight = msgspec.structs.replace(tonight, served_lift=served_lift)
            faults = faults_of(tonight, before, limits, time.time())
        if faults:
            raise InputError(f"the data is refused, version {self._served_name()} stays: {'; '.join(faults)}")
        return take_snapshot(self.run, self.settings, interactions, tonight)

    def _facts(self, model: ModelVersion) -> dict[str, Any]:
        """What the manifest says of a night besides its training."""
        assert self.snapshot is not None  # or nothing is trained
        data = self.snapshot.data
        if _has_lift(model):
            data = msgspec.structs.replace(data, own_lift=lift_of(model, self.snapshot.test))
        drift = drift_between(model, self.served)
        return {"data": data.as_record(), "test_begins": self.snapshot.moment, **drift}

    def _published_figures(self) -> list[DataFigures]:
        """Of the last published runs that are still there, the last one first."""
        figures = []
        for version in self._ever_served():
            where = (version_folder(version), MANIFEST)
            if self.storage.exists(*where):
                manifest = read_manifest(self.storage.read_text(*where), self.storage.path(*where))
                figures.append(read_figures(manifest))
        return [of_run for of_run in figures if of_run is not None][:REFERENCES]

    def _judge(self, candidate: ModelVersion) -> GateFigures:
        """The gate's figures of the candidate, written beside it; raises if it is refused."""
        gate, where = self.settings.gate, (self.folder, GATE_FILE)
        self.run.step("evaluate")
        figures = self._measured_before()  # maybe with other limits
        if figures is None:
            rivals, snapshot = Rivals(self.served, self._anchor()), self.snapshot or kept_snapshot(self.run)
            snapshot = snapshot or self._new_snapshot()
            if snapshot is None:
                raise InputError(f"version {self.run.version} cannot be judged: {self.run.record.message}")
            figures = gate_figures(candidate, rivals, snapshot, gate, self.settings.input.duplicates)
        reasons = decide(figures, gate)
        document = gate_document(figures, gate, reasons)
        self.storage.replace(_as_text(document), *where)
        self.run.note(details={**self.run.record.details, "gate": document["figures"]})
        fault_point("after_gate")
        if reasons:
            raise GateError(
                f"version {self.run.version} is refused, {self._served_name()} stays: {'; '.join(reasons)}. It is "
                "kept: jobs/publish.py --version serves it all the same, with --force and --why"
            )
        return figures

    def _measured_before(self) -> GateFigures | None:
        """What an earlier attempt measured, if it compared the candidate with what is served now."""
        where = (self.folder, GATE_FILE)
        if not self.storage.exists(*where):
            return None
        figures = read_gate_figures(json.loads(self.storage.read_text(*where)))
        compared_with = "none" if figures.served is None else figures.served.version
        return figures if compared_with == self._served_name() else None

    def _anchor(self) -> ModelVersion | None:
        """The best version served so far, if it is another than the served one and is whole."""
        name = "" if self.seen is None else self.seen.anchor
        is_other = name and self.served is not None and name != self.served.version
        if not is_other or not self.settings.gate.anchor or not self.storage.exists(version_folder(name), MANIFEST):
            return None
        try:
            return open_version(self.storage.spark, self.storage.root, name)
        except InputError as error:
            logger.warning("the best version so far cannot be compared with: %s", error)
            return None

    def _publish(self, figures: GateFigures) -> None:
        """Serve the candidate, if what is served is still what it was compared with."""
        if not self.settings.output.publish:
            logger.info("version %s passed the gate, and is not served: output.publish = false", self.run.version)
            return
        self.run.step("serve")
        self.run.check()
        anchor = self.run.version if self.seen is None or is_new_anchor(figures) else self._anchor_name()
        append(self.storage, self.seen, "publish", self.run.version, anchor=anchor)
        fault_point("after_publish")
        logger.info("version %s passed the gate and is served: %s", self.run.version, self.storage.path(self.folder))

    def _anchor_name(self) -> str:
        """The best so far: as the history says, or what is served, where it says nothing."""
        assert self.seen is not None  # or there is nothing to be better than
        return self.seen.anchor or self.seen.version

    def _served_name(self) -> str:
        return "none" if self.served is None else self.served.version


def _has_lift(model: ModelVersion) -> bool:
    """Whether a score says that a pair is likely, and not which rating it has."""
    return model.user_objective.target == "preference"


def _as_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
