"""Which versions of a retrained model are kept, decided by names and times alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from wals_spark.settings.retrain import Retain


def versions_to_remove(
    served: Sequence[str],
    candidates: Sequence[str],
    retain: Retain,
    *,
    anchor: str,
    hours_since_served: Mapping[str, float],
) -> list[str]:
    """The versions that may go.

    Parameters
    ----------
    served
        Versions that are there and are or were served, the one that is served first, then the one before, and so on.
    candidates
        Refused candidates that are there, the last one first: it is kept.
    anchor
        The best version so far.
    hours_since_served
        How long ago a version ceased to be served.
    """
    kept: list[str] = [*served[:2]]
    if anchor in served and anchor not in kept and len(kept) < retain.versions:
        kept.append(anchor)
    for version in served:
        if version not in kept and len(kept) < retain.versions:
            kept.append(version)
    old = _not_among(served, kept)
    return [v for v in old if hours_since_served.get(v, 0.0) >= retain.grace_hours] + [*candidates[1:]]


def _not_among(versions: Sequence[str], kept: Collection[str]) -> list[str]:
    return [version for version in versions if version not in kept]
