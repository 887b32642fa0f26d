"""Systems in processes of their own, the cores they have, and the memory they take (on Linux)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_in_own_process(system: str, folder: Path) -> dict[str, Any]:
    """Run this program again with ``--run SYSTEM``, with its output in a log; returns the record that it saves.

    If it fails this program exits.
    """
    print(f"{system} ...", file=sys.stderr)
    record, log = _record_path(system, folder), folder / f"{system}.log"
    record.unlink(missing_ok=True)
    with log.open("w") as file:
        command = [sys.executable, *sys.argv, "--run", system]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code or not record.exists():
        sys.exit(f"{system} ended with exit code {code}; its log is {log}")
    fields: dict[str, Any] = json.loads(record.read_text())
    return fields


def save_record(record: dict[str, Any], folder: Path) -> None:
    """Save a record for `run_in_own_process` to read."""
    _record_path(record["system"], folder).write_text(json.dumps(record))


def write_json(records: list[dict[str, Any]], path: Path) -> None:
    """Write the records of all systems, a list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=2) + "\n")


def _record_path(system: str, folder: Path) -> Path:
    return folder / f"{system}.json"


def worker_memory_mib(field: str, *, reset_peak: bool = False) -> float:
    """The largest peak (``VmHWM``) or present (``VmRSS``) memory of the Python workers on this machine, in MiB.

    With ``reset_peak`` the peaks count from now on.
    """
    kib = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes()
            if b"pyspark" in command and b"daemon" in command:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                kib.append(int(lines[field].split()[0]))
                if reset_peak:
                    (status.parent / "clear_refs").write_text("5")
        except (OSError, KeyError):
            continue  # the process ended meanwhile
    return max(kib) / 1024


class PeakMemory:
    """The largest memory of this process and its descendants together, sampled every half second."""

    def __init__(self) -> None:
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def gib(self) -> float:
        """Stop sampling, and return the peak."""
        self._ended.set()
        self._thread.join()
        return self._peak / 2**30

    def _sample(self) -> None:
        while not self._ended.wait(0.5):
            self._peak = max(self._peak, sum(_proportional_bytes(pid) for pid in _with_descendants(os.getpid())))


def _with_descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # the process ended meanwhile
        children.setdefault(parent, []).append(int(stat.parent.name))
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return family


def _proportional_bytes(pid: int) -> int:
    """Memory of a process; what it shares with others is divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0
