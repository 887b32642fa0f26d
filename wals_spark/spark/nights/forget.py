"""Takes ids out of a model: out of the tables of all its versions, and out of what unfinished runs have.

A version without them gets a name of its own, so that no reader sees a table of half a version. What is served, and
what was, then goes by the new names, and the old versions are removed. Killed at any moment, the same command again
goes on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec
from pyspark.sql import DataFrame, SparkSession

from wals_spark.errors import InputError
from wals_spark.run.run_record import read_run_record
from wals_spark.settings.forget import ForgetSettings
from wals_spark.solvers.gramian import as_json
from wals_spark.spark.lease import sole_writer
from wals_spark.spark.model.exports import exports_of
from wals_spark.spark.model.factor_tables import gramian_of, write_table
from wals_spark.spark.model.history import append, restored_current, served_version
from wals_spark.spark.model.open import ModelVersion, open_version
from wals_spark.spark.model.publish import WORK, new_version, publish, version_folder
from wals_spark.spark.model.report import write_report
from wals_spark.spark.nights.retain import remove_version
from wals_spark.spark.reading import read_ids
from wals_spark.spark.remains import RUN_RECORD, RUNS, VERSIONS, delete_work, remove_remains
from wals_spark.spark.storage import GRAMIANS, MANIFEST, MARK, REPORT, Storage

logger = logging.getLogger("wals_spark")

_SUFFIX = re.compile(r"(.*)-erased(\d+)")
_IN_MESSAGES = 10_000  # erased ids that messages of runs are searched for; with more, all messages go


def run_forget(spark: SparkSession, settings: ForgetSettings) -> None:
    """Erase the ids that the settings name, and print which exports may still have them."""
    storage = Storage(spark, settings.model.path)
    work = Storage(spark, settings.checkpoint.path) if settings.checkpoint.path else storage
    with sole_writer(storage, "forget", settings=settings.lease) as check:
        last = restored_current(storage)
        remove_remains(storage, work, "")
        for name in storage.names(RUNS):  # of those whose record cannot be read, too
            delete_work(storage, name)
        erased = Erasure(storage, settings, check)
        renamed = erased.of_all_versions()
        if last is not None and (last.version in renamed or last.anchor in renamed):
            names = {name: _present(getattr(last, name), renamed) for name in ("version", "anchor")}
            append(storage, last, "forget", names["version"], anchor=names["anchor"], renamed=renamed,
                   why=settings.forget.why)  # fmt: skip
        for version in renamed:
            check()
            remove_version(storage, version)
        _forget_in_messages(storage, erased.ids)
    changed = ", ".join(f"{version} (now {name})" for version, name in renamed.items())
    print(f"versions that had the {settings.forget.of}s: {changed or 'none'}")
    for export in exports_of(storage):
        print(f"may still have them: {export.path} ({export.what} of version {export.version}, {export.at})")


class Erasure:
    """Ids that go, and versions written without them."""

    def __init__(self, storage: Storage, settings: ForgetSettings, check: Callable[[], None]) -> None:
        self.ids: list[Any] = []
        self._storage = storage
        self._settings = settings
        self._check = check
        self._table = f"{settings.forget.of}_factors"

    def of_all_versions(self) -> dict[str, str]:
        """Write the versions that have the ids without them; their names, and the new ones."""
        renamed = {}
        for version in self._storage.names(VERSIONS):
            if not self._storage.exists(version_folder(version), MANIFEST):
                continue
            model = self._opened(version)
            if model is None:
                continue
            factors: DataFrame = getattr(model, self._table)
            ids = read_ids(model.spark, self._settings.forget, factors, section="forget")
            self.ids = self.ids or [row["id"] for row in ids.limit(_IN_MESSAGES + 1).collect()]
            if factors.join(ids, "id", "left_semi").isEmpty():
                continue
            renamed[version] = _next_name(version)
            if not self._storage.exists(version_folder(renamed[version]), MANIFEST):  # or of a run that died
                self._write(model, renamed[version], ids)
                logger.info("version %s is without the ids, and is called %s", version, renamed[version])
        return renamed

    def _opened(self, version: str) -> ModelVersion | None:
        """A version; one that is damaged and not served, which nobody can use and which may have the ids, goes."""
        try:
            return open_version(self._storage.spark, self._storage.root, version)
        except InputError as error:
            if version == served_version(self._storage):
                raise
            logger.warning("version %s is removed, it is damaged and may have the ids: %s", version, error)
            self._check()
            remove_version(self._storage, version)
            return None

    def _write(self, model: ModelVersion, version: str, ids: DataFrame) -> None:
        storage, side = self._storage, f"{self._settings.forget.of}s"
        with new_version(storage, version) as folder:
            rewritten = {self._table} | ({"item_weights"} if side == "items" else set())
            for name in storage.names(model.folder):
                if name not in (MANIFEST, WORK, MARK, REPORT, GRAMIANS, *rewritten):
                    storage.copy(model.storage.path(model.folder, name), folder, name)
            for name in rewritten:
                if storage.exists(model.folder, name):
                    table = model.spark.read.parquet(model.storage.path(model.folder, name))
                    write_table(table.join(ids, "id", "left_anti"), storage.path(folder, name))
            rows, gramian = gramian_of(model.spark.read.parquet(storage.path(folder, self._table)))
            storage.replace(as_json({**model.gramians, side: gramian}), folder, GRAMIANS)
            document = _manifest(model, version, side, rows)
            write_report(storage, folder, document)
            publish(storage, version, document, to_serve=False, guard=self._check)


def _manifest(model: ModelVersion, version: str, side: str, rows: int) -> dict[str, Any]:
    """What the manifest says of a version without some rows: it names none of them."""
    table = f"{side.removesuffix('s')}_factors"
    parent = {key: value for key, value in model.manifest.items() if key not in ("files", "sha256")}
    return {
        **parent,
        "version": version,
        "tables": {**parent["tables"], table: {**parent["tables"][table], "rows": rows}},
        "counts": {**parent["counts"], side: rows},
        "erased": {
            "from": model.version,
            side: model.manifest["counts"][side] - rows,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    }


def _forget_in_messages(storage: Storage, ids: list[Any]) -> None:
    """A message about bad rows has examples."""
    examples = [re.compile(rf"(?<!\w){re.escape(str(one))}(?!\w)") for one in ids]
    for name in storage.names(RUNS):
        where = (RUNS, name, RUN_RECORD)
        if not storage.exists(*where):
            continue
        record = read_run_record(storage.read_text(*where), storage.path(*where))
        if record.message and (len(ids) > _IN_MESSAGES or any(example.search(record.message) for example in examples)):
            changed = msgspec.structs.replace(record, message="(removed: it may have named an erased id)")
            storage.replace(changed.as_json(), *where)


def _next_name(version: str) -> str:
    match = _SUFFIX.fullmatch(version)
    return f"{match[1]}-erased{int(match[2]) + 1}" if match else f"{version}-erased1"


def _present(version: str, renamed: Mapping[str, str]) -> str:
    while version in renamed:
        version = renamed[version]
    return version
