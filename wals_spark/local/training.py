"""Training without Spark, in one process, for tests of the mathematics, in milliseconds."""

from __future__ import annotations

from typing import Any, NamedTuple

from wals_spark.arrays.distribution import Distribution
from wals_spark.arrays.types import Float32Array
from wals_spark.blocks.weighted import positive_counts
from wals_spark.local.blocks import Interactions, LocalSide, build_blocks
from wals_spark.local.half_iteration import half_iteration, start_side
from wals_spark.objective.automatic import DataCounts
from wals_spark.objective.objective import Loss
from wals_spark.run.schedule import solver_of
from wals_spark.settings.resolved import resolved
from wals_spark.settings.train import Config


class LocalModel(NamedTuple):
    """The factors of users and of items by id, float32, shape (width,) each; and the exact loss per half-iteration."""

    users: dict[Any, Float32Array]
    items: dict[Any, Float32Array]
    losses: list[Loss]


def fit(interactions: Interactions, config: Config, *, user_blocks: int = 1, item_blocks: int = 1) -> LocalModel:
    """Train as a job does with the same configuration: without ``train.tol``, held-out interactions and negatives.

    Raises
    ------
    ArithmeticError
        If a row has no finite solution.
    """
    users, items, _ = build_blocks(
        interactions, user_blocks=user_blocks, item_blocks=item_blocks, duplicates=config.input.duplicates
    )
    sides, counts = {"users": users, "items": items}, count(users, items)
    chosen = resolved(config, counts)
    settings, objectives = chosen.train, chosen.objectives(counts)
    first, second = ("users", "items") if settings.first_side == "users" else ("items", "users")
    start_side(sides[second], objectives[second], settings.start_options)
    losses = []
    for number in range(1, 2 * settings.max_iter + 1):
        solved, fixed = (first, second) if number % 2 else (second, first)
        solver = solver_of(settings, number)
        losses.append(half_iteration(sides[solved], sides[fixed], objectives[solved], solver))
    return LocalModel(users.by_id(), items.by_id(), losses)


def count(users: LocalSide, items: LocalSide) -> DataCounts:
    """What automatic settings, and objectives, need to know of the data."""
    observations = sum(len(block.positions) for block in users.in_blocks)
    return DataCounts(
        users=users.rows,
        items=items.rows,
        observations=observations,
        ratings=Distribution.merged(block.rating_distribution for block in users.in_blocks),
        largest_item_count=max(int(positive_counts(block).max(initial=0)) for block in items.in_blocks),
        mean_weight=sum(block.total_weight for block in users.in_blocks) / max(observations, 1),
    )
