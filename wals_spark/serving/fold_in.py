"""Fold-in without Spark: user factors solved from histories and a model's folder, exactly as training solves them.

The fold-in of a training user equals its trained row: the last half-iteration of training solves users
(`train.first_side` = items), each from its history, the item factors, their Gramian and the objective, and the folder
has all of these.
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
from wals_spark.run.manifest import files_of_manifest, read_manifest, read_objectives
from wals_spark.run.version_files import local_files, refuse_other_files
from wals_spark.settings.recommend import Recommend
from wals_spark.solvers.gramian import from_json
from wals_spark.solvers.half_iteration import CHOLESKY, Solver, solve_rows
from wals_spark.solvers.systems import LeastSquares

_DEFAULT_K = Recommend().k
_ARROW_LOOKUP = 10_000  # ids: Arrow builds its hash table of 100,000 items in 10 ms per call; a dict is built once


class FoldedIn(NamedTuple):
    """The factors of users, and how many entries of each history name an item that the model does not know."""

    vectors: Float32Array  # (n_users, width)
    unknown: Int64Array  # (n_users,)


@dataclass(frozen=True)
class FoldIn:
    """The item factors of a model, and what its weights and systems of equations are computed from.

    Attributes
    ----------
    ids : pa.Array, shape (n_items,)
    factors : float32, shape (n_items, width)
    gramian : float64, shape (width, width)
        Of all items.
    objective : Objective
        Of the user side.
    multipliers : float64, shape (n_items,), or None
        Per item, what multiplies the confidence if popularity weights it.
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
        """Open a version of a model in a local folder, ``<root>/versions/<version>``.

        Raises
        ------
        InputError
            If it is not a complete model, or its manifest does not say what was minimised.
        """
        folder = Path(folder)
        path = folder / "manifest.json"
        if not path.is_file():
            raise InputError(f"{folder} holds no manifest.json, so it is no complete model: name a version's folder")
        manifest = read_manifest(path.read_text(encoding="utf-8"), str(path))
        objective = read_objectives(manifest, str(path))["users"]
        used = ("item_factors", "item_weights", "gramians.json")
        listed = [file for file in files_of_manifest(manifest) if file.path.startswith(used)]
        if listed:
            refuse_other_files(listed, local_files(folder, used), str(folder))
        items = pq.read_table(folder / "item_factors", columns=["id", "features"])
        ids, multipliers = items["id"].combine_chunks(), None
        if objective.item_weight.function != "none":
            weights = pq.read_table(folder / "item_weights")
            weight_by_id = dict(zip(weights["id"].to_pylist(), weights["weight"].to_pylist(), strict=True))
            multipliers = np.array([weight_by_id[i] for i in ids.to_pylist()])
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
        """The factors of one user, shape (width,): `fold_in_many` with one history."""
        (vector,) = self.fold_in_many([0, len(items)], items, ratings, weights).vectors
        return cast("Float32Array", vector)

    def recommend(
        self,
        items: Sequence[Any],
        ratings: Sequence[float] | None = None,
        weights: Sequence[float] | None = None,
        *,
        k: int = _DEFAULT_K,
    ) -> list[tuple[Any, float]]:
        """The ``k`` items of highest score for one user that are not in the history, and their scores, best first."""
        vector = self.fold_in(items, ratings, weights)
        seen = self._positions(items)
        excluded = ItemLists.of(np.zeros(len(seen), dtype=np.int64), seen, 1)
        positions, scores = top_k(vector[None], self.factors, k, excluded=excluded)
        return [
            (self.ids[position].as_py(), score + self.objective.offset)
            for position, score in zip(positions[0].tolist(), scores[0].tolist(), strict=True)
            if position >= 0
        ]

    def fold_in_many(
        self,
        indptr: Sequence[int] | Int64Array,
        items: Sequence[Any] | AnyArray | pa.Array,
        ratings: Sequence[float] | Float64Array | None = None,
        weights: Sequence[float] | Float64Array | None = None,
    ) -> FoldedIn:
        """Solve the factors of many users, each from the entries of its history that name an item of the model.

        A history without such entries has the solution of no observations: zeros; with biases, its held 1.

        Parameters
        ----------
        indptr : shape (n_users + 1,)
            User u has the entries ``indptr[u]`` to ``indptr[u + 1]`` of the other arrays.
        items : shape (n_entries,)
            Ids as in the training input. Repeated items of a history are merged as training merged duplicates.
        ratings : shape (n_entries,)
            As in the training input, decayed if training decayed them; None: 1 for every entry.
        weights : shape (n_entries,)
            Sample weights as in the training input, if it had any; None: 1.

        Raises
        ------
        InputError
            If arrays differ in length, an id is of another type than the model's, a rating or weight is not finite or
            outside the range that training accepts, or a user's system has no finite solution.
        """
        bounds = np.asarray(indptr, dtype=np.int64)
        positions = self._positions(items)
        if bounds[0] or bounds[-1] != len(positions) or (np.diff(bounds) < 0).any():
            raise InputError(f"indptr must rise from 0 to the number of entries, {len(positions)}")
        users = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        unknown = np.bincount(users[positions < 0], minlength=len(bounds) - 1)
        histories = self._histories(users, positions, ratings, weights, n_users=len(bounds) - 1)
        vectors = solve_histories(histories, self.factors, self.gramian, self.objective, self.multipliers)
        return FoldedIn(vectors, unknown)

    def _histories(self, users: Int64Array, positions: Int64Array, ratings: Any, weights: Any, n_users: int) -> InBlock:
        """The in-block of the users, in which each item occurs once per user; unknown items are left out."""
        n_entries, n_items = len(positions), len(self.ids)
        checked_ratings = self._checked("ratings", ratings, n_entries)
        checked_weights = None if weights is None else self._checked("weights", weights, n_entries)
        observed = positions >= 0
        if self.nonpositive == "unobserved" and self.objective.target != "rating":
            observed &= checked_ratings > 0
        block, repeated = merge_histories(
            users[observed],
            positions[observed],
            checked_ratings[observed],
            None if checked_weights is None else checked_weights[observed],
            np.arange(observed.sum(), dtype=np.float64),  # as timestamps: the last of duplicates is the last entry
            shape=(n_users, n_items),
            duplicates=self.duplicates,
        )
        if self.duplicates == "refuse" and len(repeated):
            user, position = divmod(int(repeated[0]), n_items)
            raise InputError(f"history {user} repeats item {self.ids[position]}, and the model refuses duplicates")
        return block

    @cached_property
    def _position_of_id(self) -> dict[Any, int]:
        return {item: position for position, item in enumerate(self.ids.to_pylist())}

    def _positions(self, items: Any) -> Int64Array:
        """The row of each id in ``factors``, -1 for an unknown one."""
        entries = items if isinstance(items, (pa.Array, pa.ChunkedArray)) else pa.array(items)
        is_text = not pa.types.is_integer(self.ids.type)
        if len(entries) and is_text == pa.types.is_integer(entries.type):
            raise InputError(f"items such as {entries[0]}: the model's ids are of type {self.ids.type}")
        if len(entries) >= _ARROW_LOOKUP:
            wide = pa.large_string() if is_text else pa.int64()
            indices = pc.index_in(entries.cast(wide), self.ids.cast(wide))
            return np.asarray(indices.fill_null(-1)).astype(np.int64)
        get = self._position_of_id.get
        return np.array([get(item, -1) for item in entries.to_pylist()], dtype=np.int64)

    def _checked(self, name: str, values: Any, n_entries: int) -> Float64Array:
        """Ratings or weights as float64, shape (n_entries,), after the checks that training makes; None: ones."""
        if values is None:
            return np.ones(n_entries)
        numbers = np.asarray(values, dtype=np.float64)
        smallest = -np.inf
        if name == "weights":
            smallest = 0.0
        elif self.nonpositive == "bad" and self.objective.target != "rating":
            smallest = np.nextafter(0.0, 1.0)
        if len(numbers) != n_entries:
            raise InputError(f"{len(numbers)} {name} for {n_entries} items")
        bad = ~(np.isfinite(numbers) & (numbers >= smallest))
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
    """Weight histories and solve their users' factors against fixed items, shape (n_users, width).

    Parameters
    ----------
    received : float32, shape (n_received, width)
        The item factors that ``histories.positions`` index.
    gramian : float64, shape (width, width)
        Of all items.
    multipliers : float64, shape (n_received,)
        Of the items received, if popularity weights the confidence.

    Raises
    ------
    InputError
        If a user's system has no finite solution.
    """
    of_observed = None if multipliers is None else multipliers[histories.positions]  # (n_observed,)
    block = weight_observations(histories, objective, of_observed)
    solved = solve_rows(LeastSquares(block, received, gramian, objective), solver)
    if solved.summary.failed_row >= 0:
        raise InputError(f"history {solved.summary.failed_row} cannot be folded in: {solved.summary.failure}")
    return solved.factors
