"""Progress of a training: a progress bar on a terminal, a line that changes in a notebook, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wals_spark.run.events import HalfIteration

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger("wals_spark")

Report = Callable[[HalfIteration], None]


def describe(event: HalfIteration, previous_loss: float | None) -> str:
    """One line: number and side, the loss and its relative change, the seconds, and the metric of what is held out."""
    change = ""
    if previous_loss:
        change = f" ({(event.loss.total - previous_loss) / abs(previous_loss):+.3%})"
    width = len(str(event.planned))
    metric = "" if event.metric is None else f"  held out {event.metric:.4f}"
    return (
        f"half-iteration {event.number:{width}d}/{event.planned}  {event.side:5s}  "
        f"loss {event.loss.total:,.2f}{change}  {event.seconds:.2f} s{metric}"
    )


def describe_kept(kept: HalfIteration, last: HalfIteration, metric: str) -> str:
    """One line: which iteration the model is of, and its metric on held-out interactions."""
    chosen = "the best" if kept.iteration < last.iteration else "the last"
    return f"the model is that of iteration {kept.iteration} of {last.iteration}, {chosen}: {metric} {kept.metric:.4f}"


@contextmanager
def progress(planned: int) -> Iterator[Report]:
    """Yield a function to call after each half-iteration, of which ``planned`` is the number.

    The bar needs `rich` (the extra ``terminal``) and a terminal on standard error. A notebook shows the latest line;
    elsewhere the lines go to the logger ``wals_spark``.
    """
    previous_loss: float | None = None

    def line(event: HalfIteration) -> str:
        nonlocal previous_loss
        text = describe(event, previous_loss)
        previous_loss = event.loss.total
        return text

    bar = _bar() if sys.stderr.isatty() else None
    if bar is None:
        output = _notebook_output()
        yield lambda event: output(line(event)) if output else logger.info("%s", line(event))
        return
    with bar:
        task = bar.add_task("training", total=planned)

        def show(event: HalfIteration) -> None:
            bar.console.print(line(event), highlight=False)
            bar.update(task, completed=event.number, total=event.planned)

        yield show


def _bar() -> Progress | None:
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:  # an optional dependency
        return None
    return Progress(console=Console(stderr=True), transient=True)


def _notebook_output() -> Callable[[str], None] | None:
    """In a notebook: shows a text below the cell, in place of the one before."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if ipython is None or not hasattr(shell, "kernel"):
        return None
    output = ipython.display.display({"text/plain": "training"}, raw=True, display_id=True)
    return lambda text: output.update({"text/plain": text}, raw=True)
