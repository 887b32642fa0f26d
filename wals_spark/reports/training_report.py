"""report.html: what a model is, how it was trained and how it ranks, told from its manifest, events and metrics alone.

So a report can be written anew at any time, by whoever has learned something to add to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element

from wals_spark.reports.markup import Child, el
from wals_spark.reports.page import facts, page, section, table
from wals_spark.reports.ranking_sections import ranking_section
from wals_spark.reports.scales import compact, duration
from wals_spark.reports.training_sections import degrees_section, loss_section, time_section
from wals_spark.settings.train import Config

Record = dict[str, Any]

_SECRET = re.compile(r"password|passwd|secret|token|credential|access.?key|account.?key", re.IGNORECASE)
"""Options of a reader (JDBC, object stores) that a page to be passed around does not show."""


def report(manifest: Record, events: Sequence[Record], metrics: Record | None = None) -> str:
    """The page of a model as HTML text.

    Parameters
    ----------
    manifest
        What `manifest.read_manifest` gives. Models of versions that did not yet write ``degrees``, ``seconds`` or
        ``explanation`` have no such section.
    events
        The records of `events.jsonl`; none of a version whose users were folded in against another's items.
    metrics
        The document that an evaluation wrote, if there was one.
    """
    settings = manifest["settings"]
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
        loss_section(events, manifest["stopped_by"]) if events else None,
        time_section(manifest.get("seconds", {}), events) if events else None,
        degrees_section(manifest["degrees"], manifest["counts"]) if manifest.get("degrees") else None,
        _objective(manifest.get("explanation", [])),
        _settings(settings),
        el("p", "Written by ", ", ".join(f"{name} {v}" for name, v in manifest["written_by"].items()), class_="note"),
    )


def _key_facts(manifest: Record, events: Sequence[Record]) -> Iterator[tuple[str, str]]:
    counts = manifest["counts"]
    for name in ("users", "items", "observations"):
        yield name, f"{counts[name]:,}"
    yield "of all pairs", f"{compact(100 * counts['observations'] / (counts['users'] * counts['items']))}%"
    for name in ("duplicates_merged", "rows_dropped"):
        if counts[name]:
            yield name.replace("_", " "), f"{counts[name]:,}"
    yield "half-iterations", f"{manifest['half_iterations']:,}"
    yield "loss", compact(manifest["loss"]["total"])
    if events:
        seconds = manifest.get("seconds", {}).values() or (event["seconds"] for event in events)
        yield "time", duration(sum(seconds))


def _objective(explanation: Sequence[str]) -> Element | None:
    return section("What was minimised", el("pre", "\n".join(explanation))) if explanation else None


def _settings(settings: dict[str, Record]) -> Element:
    usual = Config().as_dict()
    rows: list[list[Child]] = []
    changed = []
    for name, values in settings.items():
        for key, value in values.items():
            default = usual.get(name, {}).get(key)
            if value != default:
                changed.append(len(rows))
            rows.append([f"{name}.{key}", _said(value), _said(default)])
    return section(
        "Settings as resolved",
        el("p", "Rows that stand out differ from the default.", class_="note"),
        table(["setting", "value", "default"], rows, marked=changed),
    )


def _said(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key} = {'(not shown)' if _SECRET.search(key) else one}" for key, one in value.items())
    return "" if value is None else str(value)
