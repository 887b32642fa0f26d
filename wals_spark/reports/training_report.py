"""report.html of a model: its data, training and ranking metrics, from its manifest, events and metrics alone.

A report can therefore be rewritten at any time, for example after an evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.reports.markup import Child, el
from wals_spark.reports.night_sections import data_section, drift_section
from wals_spark.reports.page import facts, page, section, table
from wals_spark.reports.ranking_sections import ranking_section
from wals_spark.reports.scales import compact, duration
from wals_spark.reports.training_sections import degrees_section, held_out_section, loss_section, time_section
from wals_spark.settings.loader import with_new_names
from wals_spark.settings.train import Config

Record = dict[str, Any]

_SECRET = re.compile(r"password|passwd|secret|token|credential|access.?key|account.?key", re.IGNORECASE)
"""Reader options (JDBC, object stores) whose values a page that is passed on must not show."""


def training_report(manifest: Record, events: Sequence[Record], metrics: Record | None = None) -> str:
    """The page of a model as HTML text.

    Parameters
    ----------
    manifest
        As returned by `manifest.read_manifest`. If it lacks ``degrees``, ``seconds`` or ``explanation``, as those of
        early versions do, the section is left out.
    events
        The records of `events.jsonl`; empty for a version whose users were folded in against the items of another.
    metrics
        The content of `metrics.json`, if the model was evaluated.
    """
    settings = with_new_names(manifest["settings"], Config.renamed, warn=False)
    kind = "Implicit" if settings["train"]["implicit"] else "Explicit"
    created = datetime.fromisoformat(manifest["created"])
    parent = (
        f"; users folded in against the items of {manifest['folded_in_from']}" if "folded_in_from" in manifest else ""
    )
    return page(
        f"Model {manifest['version']}",
        f"{kind} weighted ALS of rank {manifest['rank']} on {settings['input']['path']}, {created:%Y-%m-%d %H:%M} UTC"
        f"{parent}",
        facts(_key_facts(manifest, events)),
        ranking_section(metrics) if metrics else None,
        drift_section(manifest["drift"]) if "drift" in manifest else None,
        data_section(manifest["data"]) if "data" in manifest else None,
        held_out_section(events, manifest.get("held_out")),
        loss_section(events, manifest["stopped_by"]) if events else None,
        time_section(manifest.get("seconds", {}), events) if events else None,
        degrees_section(manifest["degrees"], manifest["counts"]) if manifest.get("degrees") else None,
        _objective(manifest.get("explanation", [])),
        _settings(_in_use(settings, manifest), manifest.get("automatic", ())),
        el("p", "Written by ", ", ".join(f"{name} {v}" for name, v in manifest["written_by"].items()), class_="note"),
    )


def _key_facts(manifest: Record, events: Sequence[Record]) -> Iterator[tuple[str, str]]:
    counts = manifest["counts"]
    for name in ("users", "items", "observations"):
        yield name, f"{counts[name]:,}"
    yield "density", f"{compact(100 * counts['observations'] / (counts['users'] * counts['items']))}%"
    for name in ("duplicates_merged", "rows_dropped"):
        if counts[name]:
            yield name.replace("_", " "), f"{counts[name]:,}"
    yield "half-iterations", f"{manifest['half_iterations']:,}"
    yield "loss", compact(manifest["loss"]["total"])
    if events:
        seconds = manifest.get("seconds", {}).values() or (event["seconds"] for event in events)
        yield "time", duration(sum(seconds))


def _objective(summary: Sequence[str]) -> Element | None:
    return section("Objective", el("pre", "\n".join(summary))) if summary else None


def _in_use(settings: dict[str, Record], manifest: Record) -> dict[str, Record]:
    """Without a section that had nothing to describe."""
    return {name: values for name, values in settings.items() if name != "held_out" or "held_out" in manifest}


def _settings(settings: dict[str, Record], automatic: Sequence[str]) -> Element:
    defaults = Config().as_dict()
    rows: list[list[Child]] = []
    highlighted = []
    for name, values in settings.items():
        for key, value in values.items():
            default = defaults.get(name, {}).get(key)
            if value != default and f"{name}.{key}" not in automatic:
                highlighted.append(len(rows))
            rows.append([f"{name}.{key}", _as_text(value), _as_text(default)])
    return section(
        "Settings",
        el("p", "Highlighted settings differ from their defaults.", class_="note"),
        table(["setting", "value", "default"], rows, highlighted=highlighted),
    )


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key} = {'(not shown)' if _SECRET.search(key) else text}" for key, text in value.items())
    return "" if value is None else str(value)
