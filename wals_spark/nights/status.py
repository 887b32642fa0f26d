"""How a model fares, for people and for Prometheus: what is served since when, the last runs, the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wals_spark.run.history import HistoryEntry
from wals_spark.run.run_record import RunRecord

_WIDTH = 100


@dataclass(frozen=True)
class Status:
    """What is known of a root.

    Attributes
    ----------
    root : str
        Its URL.
    last : HistoryEntry or None
        The last change of the served version, if there is one.
    current : str
        The version that ``CURRENT`` names.
    runs : sequence of RunRecord
        The last runs, the last one first.
    sizes : dict of str to int
        Bytes of each version, and of ``runs``.
    """

    root: str
    last: HistoryEntry | None
    current: str
    runs: Sequence[RunRecord]
    sizes: Mapping[str, int]

    def __str__(self) -> str:
        return "\n".join([*self._served(), "", *self._runs(), "", *self._disk()])

    def _served(self) -> Iterator[str]:
        if self.last is None:
            yield f"{self.root}: {'no version is served' if not self.current else f'version {self.current} is served'}"
            return
        last = self.last
        reason = f", {last.why}" if last.why else ""
        yield f"{self.root}: version {last.version} is served since {last.at} ({last.action} by {last.by}{reason})"
        yield f"before it: {last.before or 'none'}; the best so far: {last.anchor or 'not known'}"
        if self.current != last.version:
            yield f"CURRENT names {self.current or 'nothing'}: the next run, or jobs/publish.py, mends it"

    def _runs(self) -> Iterator[str]:
        if not self.runs:
            yield "no runs"
            return
        rows = [("run", "state", "exit", "started", "minutes", "what happened")]
        for run in self.runs:
            code = "" if run.exit_code is None else str(run.exit_code)
            rows.append((run.run, run.state, code, run.started[:16], f"{run.seconds / 60:.1f}", _happened(run)))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        for row in rows:
            *cells, words = row
            yield "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), words]).rstrip()

    def _disk(self) -> Iterator[str]:
        total = sum(self.sizes.values())
        yield f"disk: {_mebibytes(total)} in all"
        for name, size in self.sizes.items():
            yield f"  {_mebibytes(size):>12}  {name}"

    def prometheus(self) -> str:
        """The same as metrics in Prometheus's text format."""
        return "\n".join([*self._metrics(), ""])

    def _metrics(self) -> Iterator[str]:
        yield from _metric("served_info", "The version that is served.", [({"version": self.current}, 1.0)])
        if self.last is not None:
            since = datetime.fromisoformat(self.last.at).timestamp()
            yield from _metric("served_since_seconds", "When it became the served one, in Unix time.", [({}, since)])
        ended = [run for run in self.runs if run.exit_code is not None]
        if ended:
            last = ended[0]
            yield from _metric("last_run_exit_code", "Of the last run that ended.", [({}, float(last.exit_code or 0))])
            yield from _metric("last_run_end_seconds", "When it ended, in Unix time.", [({}, _end(last).timestamp())])
            yield from _metric("last_run_duration_seconds", "How long it took.", [({}, last.seconds)])
        published = [run for run in ended if run.state == "published"]
        if published:
            yield from _metric(
                "last_published_end_seconds", "When the last run ended whose version is served, in Unix time.",
                [({}, _end(published[0]).timestamp())],
            )  # fmt: skip
            yield from _of_details(published[0])
        sizes = [({"what": name}, float(size)) for name, size in self.sizes.items()]
        yield from _metric("disk_bytes", "Of each version, and of the records and work of runs.", sizes)


def _of_details(run: RunRecord) -> Iterator[str]:
    data, gate = run.details.get("data"), run.details.get("gate")
    if data:
        rows = [({"of": name}, float(data[name])) for name in ("rows", "users", "items")]
        yield from _metric("data", "Counts of the last published run's data.", rows)
    if gate:
        value = [({"metric": str(gate["metric"])}, float(gate["candidate"]))]
        yield from _metric("gate_value", "The last published version's metric on the test of its night.", value)


def _metric(name: str, words: str, values: Sequence[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    full = f"wals_spark_{name}"
    yield f"# HELP {full} {words}"
    yield f"# TYPE {full} gauge"
    for labels, value in values:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{full}{{{shown}}} {value!r}" if shown else f"{full} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _happened(run: RunRecord) -> str:
    """The message, or the step and what the gate measured, in one line."""
    gate = run.details.get("gate")
    if run.message:
        words = run.message
    elif gate and run.state == "published":
        words, served = f"{gate['metric']} {gate['candidate']:.4f}", gate.get("served")
        if served:
            words += f", {served['difference'] / (served['value'] or 1.0):+.1%} against {served['version']}"
    else:
        words = f"at {run.step}" if run.state == "running" else ""
    return words if len(words) <= _WIDTH else f"{words[: _WIDTH - 3]}..."


def _end(run: RunRecord) -> datetime:
    return datetime.fromisoformat(run.started) + timedelta(seconds=run.seconds)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
