"""The systems that the benchmark of training compares."""

from __future__ import annotations

from typing import Any

from benchmarks.loss import Outcome
from benchmarks.workload import Workload

_OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours-exact": {"train.solver": "exact"},
    "ours-without-heavy-rows": {"train.heavy_row_threshold": 10**12},
}
DEFAULT_SYSTEMS = ("ours", "ours-exact", "mllib", "implicit-cg", "implicit-exact")
SYSTEMS = (*DEFAULT_SYSTEMS, "ours-without-heavy-rows")


def train_system(system: str, workload: Workload) -> Outcome:
    """Train with one system. Only its libraries are imported, so that no system runs beside those of another."""
    if system in _OURS:
        from benchmarks.ours import train_ours

        return train_ours(workload, _OURS[system])
    if system == "mllib":
        from benchmarks.mllib import train_mllib

        return train_mllib(workload)
    from benchmarks.implicit_als import train_implicit

    return train_implicit(workload, use_cg=system == "implicit-cg")
