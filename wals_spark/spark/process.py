"""Which process this is, and whether one that was noted down is gone, as far as this machine can tell."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Host, number and start of this process, and what tells machines and containers of one name apart."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_of(os.getpid()), **_system()}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether a process that `this_process` described ran on this system and does no longer."""
    system = _system()
    if not system or any(process.get(name) != value for name, value in system.items()):
        return False  # another machine, another container, or no way to tell
    if process.get("host") != socket.gethostname():
        return False
    return _start_of(process.get("pid", 0)) != process.get("started")


def _system() -> dict[str, str]:
    """The boot of this machine and the processes that are visible here; empty where Linux does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot": boot, "namespace": os.readlink("/proc/self/ns/pid")}
    except OSError:
        return {}


def _start_of(pid: int) -> int:
    """When a process started, in ticks since the boot; -1 if there is none, or it is a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if status[0] in "ZX" else int(status[19])
