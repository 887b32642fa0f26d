"""Users' rows from their histories and a model's folder alone: exact, by the code that trains, and without Spark.

A trained user is its own fold-in: the last half-iteration of training solves users (`train.first_side` = items), each
from its history, the items' factors, their Gramian and the objective, and all of these are in the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wals_spark.arrays.features import feature_rows
from wals_spark.arrays.types import AnyArray, Float32Array, Float64Array, Int64Array
from wals_spark.blocks.build import merge_histories
from wals_spark.blocks.in_out import InBlock
from wals_spark.blocks.weighted import weight_observations
from wals_spark.errors import InputError
from wals_spark.objective.objective import Objective
from wals_spark.ranking.top_k import ItemLists, top_k
from wals_spark.run.manifest import read_manifest, read_objectives
from wals_spark.solvers.gramian import from_json
from wals_spark.solvers.half_iteration import CHOLESKY, Solver, solve_rows

_MANY = 10_000  # ids to look up: Arrow makes its table of 100,000 items in 10 ms, each time; a dictionary stays


class FoldedIn(NamedTuple):
    """Rows of users, and how many entries of each history name an item that the model does not know."""

    vectors: Float32Array  # (n_users, width)
    unknown: Int64Array  # (n_users,)


@dataclass(frozen=True)
class FoldIn:
    """A model's items, and all that a history's weights and its system of equations are made of.

    Attributes
    ----------
    ids : pa.Array, shape (n_items,)
    factors : float32, shape (n_items, width)
    gramian : float64, shape (width, width)
        Of all items.
    objective : Objective
        Of users.
    multipliers : float64, shape (n_items,), or None
        What each item's popularity multiplies confidence by, where it does.
    duplicates, nonpositive : str
        The model's `input.duplicates` and `input.nonpositive`.
    """

    ids: pa.Array
    factors: Float32Array
    gramian: Float64Array
    objective: Objective
    multipliers: Float64Array | None = None
    duplicates: str = "sum"
    nonpositive: str = "bad"

    @classmethod
    def open(cls, folder: str | Path) -> FoldIn:
        """Read the version of a model that lies in a local folder, ``<root>/versions/<version>``.

        Raises
        ------
        InputError
            If it is no complete model, or one that does not say what was minimised.
        """
        folder = Path(folder)
        path = folder / "manifest.json"
        if not path.is_file():
            raise InputError(f"{folder} holds no manifest.json, so it is no complete model: name a version's folder")
        manifest = read_manifest(path.read_text(encoding="utf-8"), str(path))
        objective = read_objectives(manifest, str(path))["users"]
        items = pq.read_table(folder / "item_factors", columns=["id", "features"])
        ids, multipliers = items["id"].combine_chunks(), None
        if objective.item_weight.function != "none":
            weights = pq.read_table(folder / "item_weights")
            of_item = dict(zip(weights["id"].to_pylist(), weights["weight"].to_pylist(), strict=True))
            multipliers = np.array([of_item[i] for i in ids.to_pylist()])
        return cls(
            ids=ids,
            factors=np.concatenate([feature_rows(chunk) for chunk in items["features"].chunks if len(chunk)]),
            gramian=from_json((folder / "gramians.json").read_text())["items"],
            objective=objective,
            multipliers=multipliers,
            duplicates=manifest["settings"]["input"]["duplicates"],
            nonpositive=manifest["settings"]["input"]["nonpositive"],
        )

    def fold_in(
        self, items: Sequence[Any], ratings: Sequence[float] | None = None, weights: Sequence[float] | None = None
    ) -> Float32Array:
        """The row of one user, shape (width,): `fold_in_many` with one history."""
        (vector,) = self.fold_in_many([0, len(items)], items, ratings, weights).vectors
        return cast("Float32Array", vector)

    def recommend(
        self,
        items: Sequence[Any],
        ratings: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        *,
        k: int = 10,
    ) -> list[tuple[Any, float]]:
        """The ``k`` items of highest score for one user that are not in its history, and their scores, best first."""
        vector = self.fold_in(items, ratings, weights)
        seen = self._positions(items)
        excluded = ItemLists.of(np.zeros(len(seen), dtype=np.int64), seen, 1)
        positions, scores = top_k(vector[None], self.factors, k, excluded=excluded)
        found = zip(positions[0].tolist(), scores[0].tolist(), strict=True)
        return [
            (self.ids[position].as_py(), score + self.objective.offset) for position, score in found if position >= 0
        ]

    def fold_in_many(
        self,
        indptr: Sequence[int] | Int64Array,
        items: Sequence[Any] | AnyArray | pa.Array,
        ratings: Sequence[float] | Float64Array | None = None,
        weights: Sequence[float] | Float64Array | None = None,
    ) -> FoldedIn:
        """Solve many users' rows, each from the entries of its history that name an item of the model.

        A history of none such gives the solution of no observations: zeros, or with biases what the held 1 leaves.

        Parameters
        ----------
        indptr : shape (n_users + 1,)
            User u has the entries ``indptr[u]`` to ``indptr[u + 1]`` of what follows.
        items : shape (n_entries,)
            The caller's own ids. An item that is there several times counts once, as in training.
        ratings : shape (n_entries,)
            As training read them, decayed if it decayed them; none: 1 for every entry.
        weights : shape (n_entries,)
            The caller's own, if the model was trained with such; none: 1.

        Raises
        ------
        InputError
            If arrays differ in length, an id is of another kind than the model's, a rating or weight is no finite
            number or out of the range that training took, or a user's row has no finite solution.
        """
        bounds = np.asarray(indptr, dtype=np.int64)
        n_users = len(bounds) - 1
        positions = self._positions(items)
        if bounds[0] or bounds[-1] != len(positions) or (np.diff(bounds) < 0).any():
            raise InputError(f"indptr must rise from 0 to the number of entries, {len(positions)}")
        rated = self._checked("ratings", ratings, len(positions))
        own = None if weights is None else self._checked("weights", weights, len(positions))

        user = np.repeat(np.arange(n_users), np.diff(bounds))
        known = positions >= 0
        unknown = np.bincount(user[~known], minlength=n_users)
        used = known & (rated > 0) if self.nonpositive == "unobserved" and self.objective.target != "rating" else known
        histories = self._histories(
            user[used], positions[used], rated[used], None if own is None else own[used], n_users
        )
        vectors = solve_histories(histories, self.factors, self.gramian, self.objective, self.multipliers)
        return FoldedIn(vectors, unknown)

    def _histories(
        self, user: Int64Array, positions: Int64Array, ratings: Float64Array, weights: Float64Array | None, n_users: int
    ) -> InBlock:
        """Entries of known items, user after user, as a block of rows with each item once."""
        order = np.arange(len(user), dtype=np.float64)  # the last of several is the one that stands last
        block, repeated = merge_histories(
            user, positions, ratings, weights, order, shape=(n_users, len(self.ids)), duplicates=self.duplicates
        )
        if self.duplicates == "refuse" and len(repeated):
            at, position = divmod(int(repeated[0]), len(self.ids))
            raise InputError(f"history {at} repeats item {self.ids[position]}, and the model refuses duplicates")
        return block

    @cached_property
    def _position_of(self) -> dict[Any, int]:
        return {item: position for position, item in enumerate(self.ids.to_pylist())}

    def _positions(self, items: Any) -> Int64Array:
        """Where each id stands in ``factors``, -1 for an unknown one."""
        entries = items if isinstance(items, (pa.Array, pa.ChunkedArray)) else pa.array(items)
        of_text = not pa.types.is_integer(self.ids.type)
        if len(entries) and of_text == pa.types.is_integer(entries.type):
            raise InputError(f"items such as {entries[0]}: the model's ids are of type {self.ids.type}")
        if len(entries) >= _MANY:
            wide = pa.large_string() if of_text else pa.int64()
            found = pc.index_in(entries.cast(wide), self.ids.cast(wide))
            return np.asarray(found.fill_null(-1)).astype(np.int64)
        get = self._position_of.get
        return np.array([get(item, -1) for item in entries.to_pylist()], dtype=np.int64)

    def _checked(self, name: str, values: Any, n_entries: int) -> Float64Array:
        if values is None:
            return np.ones(n_entries)
        numbers = np.asarray(values, dtype=np.float64)
        least = -np.inf
        if name == "weights":
            least = 0.0
        elif self.nonpositive == "bad" and self.objective.target != "rating":
            least = np.nextafter(0.0, 1.0)
        if len(numbers) != n_entries:
            raise InputError(f"{len(numbers)} {name} for {n_entries} items")
        bad = ~(np.isfinite(numbers) & (numbers >= least))
        if bad.any():
            raise InputError(f"{bad.sum()} of {n_entries} {name} cannot be used, such as {numbers[bad][0]}")
        return numbers


def solve_histories(
    histories: InBlock,
    received: Float32Array,
    gramian: Float64Array,
    objective: Objective,
    multipliers: Float64Array | None = None,
    solver: Solver = CHOLESKY,
) -> Float32Array:
    """Weigh histories and solve their users' rows against items that stay as they are, shape (n_users, width).

    Parameters
    ----------
    received : float32, shape (n_received, width)
        The items' rows that ``histories.positions`` points into.
    gramian : float64, shape (width, width)
        Of all items.
    multipliers : float64, shape (n_received,)
        Of the items received, where popularity weighs.

    Raises
    ------
    InputError
        If a row has no finite solution.
    """
    of_observed = None if multipliers is None else multipliers[histories.positions]
    solved = solve_rows(weight_observations(histories, objective, of_observed), received, gramian, objective, solver)
    if solved.summary.failed_row >= 0:
        raise InputError(f"history {solved.summary.failed_row} cannot be folded in: {solved.summary.failure}")
    return solved.factors
