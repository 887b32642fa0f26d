"""The records of the benchmark of training, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

Record = dict[str, Any]
_SAME_LOSS = 1.00001  # a loss that is higher by less counts as reached


def print_table(records: list[Record]) -> None:
    """Print a row per system; ratios are to the first."""
    first = records[0]
    mllib_loss = next((record["loss"] for record in records if record["system"] == "mllib"), None)
    title = f"{first['rows']:,} rows, rank {first['rank']}, {first['cores']} cores, {first['iterations']} iterations"
    table = Table(title=title)
    for name in ("system", "prepare s", "s/iteration", f"x {first['system']}", "kernels", "loss", "s to MLlib's loss",
                 "MiB: peak, idle, data"):  # fmt: skip
        table.add_column(name, justify="left" if name == "system" else "right", no_wrap=name == "system")
    for record in records:
        seconds = record["seconds_per_iteration"]
        table.add_row(
            record["system"],
            f"{record['prepare_seconds']:.1f}",
            f"{seconds:.2f}",
            f"{seconds / first['seconds_per_iteration']:.2f}",
            _share_of_kernels(record),
            f"{record['loss']:,.0f}",
            _seconds_to(mllib_loss, record),
            _memory(record),
        )
    Console(width=max(120, Console().width)).print(table)


def _share_of_kernels(record: Record) -> str:
    kernels = record.get("kernel_seconds_per_iteration")
    return "" if kernels is None else f"{kernels / record['seconds_per_iteration']:.0%}"


def _seconds_to(loss: float | None, record: Record) -> str:
    """When a system reached a loss; one that reports no losses reached its last one at its end."""
    if loss is None:
        return ""
    curve = record.get("curve") or [[record["seconds"], record["loss"]]]
    return next((f"{at:.1f}" for at, value in curve if value <= _SAME_LOSS * loss), "")


def _memory(record: Record) -> str:
    if "worker_peak_mib" not in record:
        return ""
    return ", ".join(f"{record[f'worker_{name}_mib']:.0f}" for name in ("peak", "idle", "data"))


def draw(records: list[Record], path: Path) -> None:
    """Draw two panels: seconds per iteration, and the loss over time; a peer that reports no losses is one point."""
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    bars, curves = figure.subplots(1, 2)
    first = records[0]
    figure.suptitle(f"{first['rows']:,} observations, rank {first['rank']}, {first['cores']} cores")
    seconds = [record["seconds_per_iteration"] for record in records]
    drawn = bars.barh([record["system"] for record in records], seconds, color=[f"C{n}" for n in range(len(records))])
    bars.bar_label(drawn, [f"{s:.2f} s  ({s / seconds[0]:.1f}x)" for s in seconds], padding=3)
    bars.set(xlabel="seconds per iteration", xlim=(0, max(seconds) * 1.4))
    bars.invert_yaxis()
    best = min(record["loss"] for record in records)
    for number, record in enumerate(records):
        curve = np.array([*record.get("curve", [])[3::2], [record["seconds"], record["loss"]]])
        curves.plot(*curve.T, "o-", markersize=4, color=f"C{number}", label=record["system"])
    curves.set(xlabel="seconds from the call, preparation included", ylabel="loss")
    curves.set(xlim=(0, None), ylim=(0.98 * best, 1.45 * best))
    curves.legend()
    figure.savefig(path, dpi=120)
