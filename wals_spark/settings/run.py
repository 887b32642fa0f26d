"""Settings of a run: its name, its checkpoints, and how it keeps others from its root."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wals_spark.objective.automatic import AUTO
from wals_spark.settings.loader import Section
from wals_spark.settings.tables import EMPTY_OR_VERSION

CheckpointWord = Literal["auto", "never"]


class Run(Section, frozen=True, kw_only=True):
    """The run."""

    id: Annotated[
        str,
        Meta(
            description=(
                "Name of the run, such as a scheduler's {{ ds }}: the same command again goes on where the run died, "
                "or does nothing if it is done. Empty: output.version, which goes on too, or else the time in UTC."
            ),
            pattern=EMPTY_OR_VERSION,
        ),
    ] = ""


class Checkpoint(Section, frozen=True, kw_only=True):
    """Checkpoints: what a run goes on from when it, or an executor, has died."""

    path: Annotated[str, Meta(description="Folder or URL for blocks and checkpoints of runs; empty: output.path.")] = ""
    every: Annotated[
        Annotated[float, Meta(ge=0)] | CheckpointWord,
        Meta(
            description=(
                "Seconds between two checkpoints; 0: one after every half-iteration; never: none; auto: from how long "
                "writing one takes and the number of executors, at least a minute, so that a short run writes none."
            )
        ),
    ] = AUTO
    resume: Annotated[
        Literal["auto", "must", "never"],
        Meta(
            description=(
                "Go on with a run of this name that died, if there is one (auto); refuse to start if there is none "
                "(must); start again, and remove what it has left (never)."
            )
        ),
    ] = AUTO
    grace_seconds: Annotated[
        float,
        Meta(
            description=(
                "After SIGTERM a checkpoint is written and the job ends, within so many seconds. Less than the "
                "scheduler waits before it kills: 30 s on Kubernetes, 10 s with docker stop."
            ),
            gt=0,
        ),
    ] = 25.0


class Lease(Section, frozen=True, kw_only=True):
    """The lease that one run has on a root, so that no other writes there."""

    stale_seconds: Annotated[
        float,
        Meta(description="A lease that its holder has not renewed for so long is taken over.", ge=10),
    ] = 180.0
    required: Annotated[
        bool,
        Meta(
            description=(
                "false: write without a lease where the storage cannot give one, an object store that creates no "
                "object on the condition that there is none; then see to it that one run at a time writes."
            )
        ),
    ] = True
